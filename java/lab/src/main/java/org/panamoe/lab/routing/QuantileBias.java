package org.panamoe.lab.routing;

import java.util.Optional;
import org.panamoe.backend.GroupLimitedTopK;

/**
 * Quantile balancing: no rate, one histogram for each expert. With the bias b of now, a token i would take expert j if
 * its bias were above r_ij, and the bias that a share K / E of the tokens would follow is a quantile:
 *
 * <pre>
 *   alpha_i = (K + 1)-th largest over j of s_ij + b_j
 *   r_ij    = alpha_i - s_ij
 *   b'_j    = quantile K / E of r_ij over the batch;  b' -= mean(b')
 * </pre>
 *
 * b' counts from the next batch on. The quantile is interpolated in a histogram over [min b - 1, max b + 1], as scores
 * lie in (0, 1). J. Su, kexue.fm 11619; Kimi K3 report, section 2.3.3; the histogram as in torchtitan, pull request 4577.
 *
 * <p>It was not made for groups: alpha is taken over all experts, also where a token may use some groups only.
 *
 * <p>Parameters: bins (1000), ema (0: how much of the old bias stays).
 */
final class QuantileBias implements Balancer {
    private final GroupLimitedTopK rule;
    private final int bins;
    private final double ema;
    private final float[] bias_E;
    private final float[] biased_E;
    private final int[] histogram_EB;

    QuantileBias(GroupLimitedTopK rule, Parameters parameters, Optional<float[]> recorded) {
        if (rule.chosen() == rule.experts()) throw parameters.wrong("all experts are chosen: there is no next best");
        this.rule = rule;
        bins = parameters.integer("bins", 1000, 2);
        ema = parameters.number("ema", 0, 0);
        if (ema >= 1) throw parameters.wrong("ema is %s, not below 1".formatted(ema));
        bias_E = new float[rule.experts()];
        biased_E = new float[rule.experts()];
        histogram_EB = new int[rule.experts() * bins];
    }

    @Override
    public void route(Batch batch, Choices choices) {
        choices.takeBest(batch, bias_E);
    }

    @Override
    public void learn(Batch batch, Choices choices) {
        int E = rule.experts();
        double low = Double.POSITIVE_INFINITY, high = Double.NEGATIVE_INFINITY;
        for (float bias : bias_E) {
            low = Math.min(low, bias - 1);
            high = Math.max(high, bias + 1);
        }
        double width = (high - low) / bins;
        java.util.Arrays.fill(histogram_EB, 0);
        for (int t = 0; t < batch.T; t++) {
            for (int e = 0; e < E; e++) biased_E[e] = batch.score_TE[t * E + e] + bias_E[e];
            float alpha = Ranks.largest(biased_E, E, rule.chosen());
            for (int e = 0; e < E; e++) {
                int bin = (int) ((alpha - batch.score_TE[t * E + e] - low) / width);
                histogram_EB[e * bins + Math.clamp(bin, 0, bins - 1)]++;
            }
        }
        double[] next_E = new double[E];
        double mean = 0;
        for (int e = 0; e < E; e++) {
            next_E[e] = low + width * quantile(e * bins, (double) batch.T * rule.chosen() / E);
            mean += next_E[e] / E;
        }
        for (int e = 0; e < E; e++) bias_E[e] = (float) (ema * bias_E[e] + (1 - ema) * (next_E[e] - mean));
    }

    /** In bins from the first one: below it lie so many of the row's values. */
    private double quantile(int row, double rank) {
        double below = 0;
        for (int bin = 0; bin < bins; bin++) {
            int here = histogram_EB[row + bin];
            if (below + here >= rank) return bin + (here == 0 ? 0 : (rank - below) / here);
            below += here;
        }
        return bins;
    }

    @Override
    public float[] bias() {
        return bias_E.clone();
    }
}
