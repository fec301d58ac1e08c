package org.panamoe.lab.routing;

import com.google.common.collect.HashBasedTable;
import com.google.common.collect.ImmutableTable;
import com.google.common.math.Stats;
import com.google.common.math.StatsAccumulator;
import java.util.LinkedHashMap;

/** Mean and deviation over seeds of what is a mean over layers and tokens. Settings are in the order they came in. */
public final class Summary {
    /** All but the seed. */
    public record Setting(
            String input, String method, int experts, int chosen, int groups, int kept, int batch, String drift) {}

    private final LinkedHashMap<Setting, Boolean> settings = new LinkedHashMap<>();
    private final HashBasedTable<Setting, String, StatsAccumulator> stats = HashBasedTable.create();

    public Summary() {}

    /** Rows of a layer, a step or an expert are passed over. */
    public void add(Row row) {
        if (row.layer() != null || row.step() != null || row.expert() != null) return;
        var setting = new Setting(
                row.input(),
                row.method(),
                row.experts(),
                row.chosen(),
                row.groups(),
                row.kept(),
                row.batch(),
                row.drift() == null ? "" : row.drift().toString());
        settings.put(setting, true);
        var of = stats.get(setting, row.metric());
        if (of == null) {
            of = new StatsAccumulator();
            stats.put(setting, row.metric(), of);
        }
        of.add(row.value());
    }

    /** For each setting and metric that was measured. */
    public ImmutableTable<Setting, String, Stats> table() {
        var table = ImmutableTable.<Setting, String, Stats>builder();
        for (var setting : settings.keySet())
            for (var metric : Metric.values()) {
                var of = stats.get(setting, metric.key());
                if (of != null) table.put(setting, metric.key(), of.snapshot());
            }
        return table.build();
    }

    /** The deviation of a sample of seeds; 0 where there is one seed only. */
    public static double deviation(Stats stats) {
        return stats.count() < 2 ? 0 : stats.sampleStandardDeviation();
    }

    /** A line for each setting and metric. */
    public String csv() {
        var text =
                new StringBuilder("input,method,experts,chosen,groups,kept,batch,drift,metric,seeds,mean,deviation\n");
        table().rowMap()
                .forEach((s, metrics) ->
                        metrics.forEach((metric, of) -> text.append("%s,%s,%d,%d,%d,%d,%d,%s,%s,%d,%s,%s\n"
                                .formatted(
                                        quoted(s.input),
                                        quoted(s.method),
                                        s.experts,
                                        s.chosen,
                                        s.groups,
                                        s.kept,
                                        s.batch,
                                        s.drift,
                                        metric,
                                        of.count(),
                                        of.mean(),
                                        deviation(of)))));
        return text.toString();
    }

    private static String quoted(String text) {
        return text.contains(",") ? '"' + text + '"' : text;
    }
}
