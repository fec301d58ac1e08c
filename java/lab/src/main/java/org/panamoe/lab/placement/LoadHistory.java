package org.panamoe.lab.placement;

import java.util.ArrayList;
import java.util.List;
import org.panamoe.lab.routing.Batch;
import org.panamoe.lab.routing.Choices;
import org.panamoe.lab.routing.Trace;

/** How many rows each expert of each layer got in each step. */
public final class LoadHistory {
    /** Steps x layers x experts. Not to be written to. */
    public final float[][][] count;

    private LoadHistory(float[][][] count) {
        this.count = count;
    }

    /** One step: nothing can be said of how it goes on. */
    public static LoadHistory of(float[][] count) {
        return new LoadHistory(new float[][][] {count});
    }

    /**
     * The recorded choices of a trace, or those that its scores and its bias make, cut into steps; what is left over at the
     * end is not one. A layer of the MTP module may have fewer tokens: there are as many steps as the shortest layer has.
     */
    public static LoadHistory of(Trace trace, int tokensPerStep) {
        if (tokensPerStep < 1)
            throw new IllegalArgumentException("tokens of a step: %d is not above 0".formatted(tokensPerStep));
        var layers = new ArrayList<List<float[]>>();
        for (int layer : trace.layers()) layers.add(count(trace, layer, tokensPerStep));
        int steps = layers.stream().mapToInt(List::size).min().orElse(0);
        if (steps == 0)
            throw new IllegalArgumentException(
                    "%s: has fewer tokens than one step of %d".formatted(trace.name(), tokensPerStep));
        float[][][] count = new float[steps][layers.size()][];
        for (int step = 0; step < steps; step++)
            for (int layer = 0; layer < layers.size(); layer++)
                count[step][layer] = layers.get(layer).get(step);
        return new LoadHistory(count);
    }

    private static List<float[]> count(Trace trace, int layer, int tokensPerStep) {
        var rule = trace.rule();
        var batch = trace.hasChoices()
                ? Batch.ofChoices(tokensPerStep, rule.experts(), rule.chosen())
                : Batch.ofScores(tokensPerStep, rule.experts(), rule.chosen());
        float[] bias_E = trace.bias(layer).orElseGet(() -> new float[rule.experts()]);
        var choices = new Choices(rule);
        var steps = new ArrayList<float[]>();
        try (var reader = trace.read(layer, 0)) {
            while (reader.next(batch) && batch.T == tokensPerStep) {
                if (trace.hasChoices()) choices.takeRecorded(batch);
                else choices.takeBest(batch, bias_E);
                long[] rows_E = choices.count();
                float[] count_E = new float[rows_E.length];
                for (int e = 0; e < count_E.length; e++) count_E[e] = rows_E[e];
                steps.add(count_E);
            }
        }
        return steps;
    }

    public int steps() {
        return count.length;
    }

    /** Rows of the steps {@code from} to {@code to}, without the latter. */
    public float[][] sum(int from, int to) {
        float[][] sum = new float[count[0].length][count[0][0].length];
        for (int step = from; step < to; step++)
            for (int layer = 0; layer < sum.length; layer++)
                for (int e = 0; e < sum[layer].length; e++) sum[layer][e] += count[step][layer][e];
        return sum;
    }

    /**
     * How far loads stay as they are: the correlation of the experts' loads in one stretch of so many steps with those in
     * the next, the mean over layers and stretches; NaN if there are not two, or all experts are equally busy.
     */
    public double persistence(int stretch) {
        double sum = 0;
        int n = 0;
        for (int from = 0; from + 2 * stretch <= steps(); from += stretch) {
            float[][] now = sum(from, from + stretch), next = sum(from + stretch, from + 2 * stretch);
            for (int layer = 0; layer < now.length; layer++) {
                double r = correlation(now[layer], next[layer]);
                if (Double.isNaN(r)) continue;
                sum += r;
                n++;
            }
        }
        return n == 0 ? Double.NaN : sum / n;
    }

    private static double correlation(float[] a, float[] b) {
        double meanA = 0, meanB = 0;
        for (int i = 0; i < a.length; i++) {
            meanA += (double) a[i] / a.length;
            meanB += (double) b[i] / b.length;
        }
        double ab = 0, aa = 0, bb = 0;
        for (int i = 0; i < a.length; i++) {
            ab += (a[i] - meanA) * (b[i] - meanB);
            aa += (a[i] - meanA) * (a[i] - meanA);
            bb += (b[i] - meanB) * (b[i] - meanB);
        }
        return ab / Math.sqrt(aa * bb);
    }
}
