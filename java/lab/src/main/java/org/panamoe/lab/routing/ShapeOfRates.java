package org.panamoe.lab.routing;

import com.google.common.math.Stats;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;

/** What the rates of one method that were compared say: too slow, right, oscillating. */
public final class ShapeOfRates {
    private static final String PUBLISHED = "sign:rate=0.001";
    /** Beyond this factor of the best one a rate has failed. */
    private static final double FAILED = 2;

    private ShapeOfRates() {}

    /** Sentences for a reader; none where fewer than three rates of the sign rule were compared, or all do. */
    public static List<String> of(Summary summary) {
        var notes = new ArrayList<String>();
        var rates = new TreeMap<Double, Stats>();
        summary.table().column(Metric.MAX_VIO_BATCH.key()).forEach((setting, stats) -> {
            var spec = MethodSpec.parse(setting.method());
            String rate = spec.parameters().get("rate");
            if (spec.method().equals("sign")
                    && rate != null
                    && spec.parameters().size() == 1)
                rates.merge(Double.valueOf(rate), stats, (a, b) -> a.mean() < b.mean() ? a : b);
        });
        if (rates.size() < 3) return notes;
        Map.Entry<Double, Stats> best = rates.firstEntry();
        for (var rate : rates.entrySet())
            if (rate.getValue().mean() < best.getValue().mean()) best = rate;
        for (var rate : rates.entrySet()) {
            if (rate.getValue().mean() <= FAILED * best.getValue().mean()) continue;
            String why = rate.getKey() < best.getKey() ? "too slow for this many steps" : "oscillating";
            String published = PUBLISHED.equals("sign:rate=" + rate.getKey()) ? ", the published one," : "";
            notes.add("sign: rate %s%s is %s: MaxVio of a batch %.3f, with %s %.3f"
                    .formatted(
                            rate.getKey(),
                            published,
                            why,
                            rate.getValue().mean(),
                            best.getKey(),
                            best.getValue().mean()));
        }
        return notes;
    }
}
