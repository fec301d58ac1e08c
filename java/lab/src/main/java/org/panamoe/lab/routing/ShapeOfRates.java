package org.panamoe.lab.routing;

import com.google.common.math.Stats;
import java.util.ArrayList;
import java.util.List;
import java.util.TreeMap;

/**
 * What the rates of the sign rule that were compared say. A rate fails if its batches are twice as unbalanced as those of
 * the best one. Below the best it is too slow. Above, it oscillates if the imbalance of all tokens together is less than
 * half that of a batch: it changes sides, and not by the chance of small batches alone, for the best rate has that too.
 */
public final class ShapeOfRates {
    private static final double PUBLISHED = 0.001;
    private static final double FAILED = 2, CANCELLED = 0.5;

    private ShapeOfRates() {}

    private record Rate(double batch, double global) {}

    /** Sentences for a reader; none where fewer than three rates of the sign rule were compared, or none fails. */
    public static List<String> of(Summary summary) {
        var rates = new TreeMap<Double, Rate>();
        summary.table().rowMap().forEach((setting, metrics) -> {
            var spec = MethodSpec.parse(setting.method());
            String rate = spec.parameters().get("rate");
            Stats batch = metrics.get(Metric.MAX_VIO_BATCH.key()), global = metrics.get(Metric.MAX_VIO_GLOBAL.key());
            boolean plain = spec.method().equals("sign") && spec.parameters().size() == 1;
            if (plain && rate != null && batch != null && global != null)
                rates.put(Double.valueOf(rate), new Rate(batch.mean(), global.mean()));
        });
        var notes = new ArrayList<String>();
        if (rates.size() < 3) return notes;
        double best = rates.firstKey(), least = Double.POSITIVE_INFINITY;
        for (var rate : rates.entrySet())
            if (rate.getValue().batch < least) {
                best = rate.getKey();
                least = rate.getValue().batch;
            }
        for (var entry : rates.entrySet()) {
            double rate = entry.getKey();
            var of = entry.getValue();
            if (of.batch <= FAILED * least) continue;
            String why = rate < best
                    ? "is too slow for this many steps"
                    : of.global < CANCELLED * of.batch ? "oscillates" : "is too high";
            notes.add("sign: rate %s%s %s: MaxVio of a batch %.3f, of all tokens %.3f; with %s a batch's is %.3f"
                    .formatted(
                            rate,
                            rate == PUBLISHED ? ", the published one," : "",
                            why,
                            of.batch,
                            of.global,
                            best,
                            least));
        }
        return notes;
    }
}
