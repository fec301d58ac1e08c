package org.panamoe.lab.figure;

import com.google.common.math.Stats;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.stream.Collectors;
import org.panamoe.lab.routing.Metric;
import org.panamoe.lab.routing.Row;
import org.panamoe.lab.routing.ShapeOfRates;
import org.panamoe.lab.routing.Summary;
import org.panamoe.report.Axis;
import org.panamoe.report.HeatMap;
import org.panamoe.report.Page;
import org.panamoe.report.Plot;
import org.panamoe.report.Table;

/** Balancing methods on the same tokens: what a comparison or a sweep wrote, as figures. */
public final class RoutingFigures {
    /** Settings beyond these are in the table alone: a page of a large sweep would never end. */
    private static final int MOST_SETTINGS = 8;

    private static final List<Metric> SHOWN = List.of(
            Metric.MAX_VIO_GLOBAL,
            Metric.MAX_VIO_BATCH,
            Metric.SCORE_REGRET,
            Metric.MAX_OVER_MEAN,
            Metric.STRAGGLER,
            Metric.DEAD_EXPERTS,
            Metric.NODES_PER_TOKEN,
            Metric.DROPPED_SLOTS);

    private RoutingFigures() {}

    /** All that differs between runs which are drawn together is the method, and the seed. */
    private record Setting(String input, int experts, int chosen, int groups, int kept, int batch, String drift) {
        static Setting of(Row row) {
            return new Setting(
                    row.input(),
                    row.experts(),
                    row.chosen(),
                    row.groups(),
                    row.kept(),
                    row.batch(),
                    row.drift() == null ? "" : ", drift " + row.drift());
        }

        @Override
        public String toString() {
            return "%s: %d of %d experts, %d of %d groups, batches of %d tokens%s"
                    .formatted(input, chosen, experts, kept, groups, batch, drift);
        }
    }

    /** The seeds of the rows. */
    public static String seeds(List<Row> rows) {
        return String.join(
                ", ",
                rows.stream()
                        .map(Row::seed)
                        .distinct()
                        .sorted()
                        .map(String::valueOf)
                        .toList());
    }

    /** What the rates of the sign rule show, where enough of them were compared. */
    private static String notes(List<Row> rows) {
        var summary = new Summary();
        rows.forEach(summary::add);
        return ShapeOfRates.of(summary).stream().map(note -> " " + note + ".").collect(Collectors.joining());
    }

    /** Adds what the rows allow: curves and heat maps need rows of steps and of experts. */
    public static void add(Page page, List<Row> rows) {
        var settings = new LinkedHashMap<Setting, List<Row>>();
        for (var row : rows)
            settings.computeIfAbsent(Setting.of(row), s -> new ArrayList<>()).add(row);
        boolean one = settings.size() == 1;
        page.add(
                "The methods",
                (one ? settings.keySet().iterator().next() + ". " : "")
                        + "Means over layers, then mean and deviation over seeds. "
                        + left(settings.size())
                        + (one ? notes(rows) : ""),
                summary(rows, one));
        settings.entrySet().stream()
                .limit(MOST_SETTINGS)
                .forEach(of -> add(page, of.getKey().toString(), of.getValue()));
    }

    private static String left(int settings) {
        return settings <= MOST_SETTINGS
                ? ""
                : "The first %d of %d settings are drawn below.".formatted(MOST_SETTINGS, settings);
    }

    private static void add(Page page, String setting, List<Row> rows) {
        var curves = overTime(rows);
        if (!curves.series().isEmpty())
            page.add(
                    "Imbalance over time",
                    setting + ". Each point is one batch, the mean over layers and seeds.",
                    curves);
        var pareto = pareto(rows);
        if (!pareto.series().isEmpty())
            page.add(
                    "What balance costs",
                    setting
                            + ". Down and to the left is better. Each point is one method and seed; none is how the router"
                            + " would choose by itself. Scores are frozen: this says nothing about a model's loss.",
                    pareto);
        loads(rows).forEach((method, map) -> page.add("Load of experts: " + method, setting, map));
    }

    /** MaxVio of each batch. */
    private static Plot overTime(List<Row> rows) {
        var of = new LinkedHashMap<String, TreeMap<Long, List<Double>>>();
        for (var row : rows)
            if (row.step() != null && row.metric().equals(Metric.MAX_VIO_BATCH.key()))
                of.computeIfAbsent(row.method(), m -> new TreeMap<>())
                        .computeIfAbsent(row.step(), s -> new ArrayList<>())
                        .add(row.value());
        var series = new ArrayList<Plot.Series>();
        of.forEach((method, steps) -> {
            var points = new ArrayList<Plot.Point>();
            steps.forEach((step, values) -> points.add(new Plot.Point(step, Stats.meanOf(values))));
            series.add(new Plot.Series(method, points));
        });
        return new Plot(Axis.of("batch", ""), Axis.log("MaxVio of a batch", ""), true, series);
    }

    /** Score regret against MaxVio. */
    private static Plot pareto(List<Row> rows) {
        record Run(String method, long seed) {}
        var vio = new LinkedHashMap<Run, Double>();
        var regret = new LinkedHashMap<Run, Double>();
        for (var row : rows) {
            if (row.step() != null || row.layer() != null || row.expert() != null) continue;
            var run = new Run(row.method(), row.seed());
            if (row.metric().equals(Metric.MAX_VIO_BATCH.key())) vio.put(run, row.value());
            if (row.metric().equals(Metric.SCORE_REGRET.key())) regret.put(run, row.value());
        }
        var points = new LinkedHashMap<String, List<Plot.Point>>();
        vio.forEach((run, y) -> {
            Double x = regret.get(run);
            if (x != null)
                points.computeIfAbsent(run.method, m -> new ArrayList<>())
                        .add(new Plot.Point(100 * x, y, "seed " + run.seed));
        });
        return new Plot(
                Axis.of("score regret", "%"),
                Axis.of("MaxVio of a batch", ""),
                false,
                points.entrySet().stream()
                        .map(e -> new Plot.Series(e.getKey(), e.getValue()))
                        .toList());
    }

    /** Layer x expert, of the first and the best method: where load lay, and where it lies then. */
    private static Map<String, HeatMap> loads(List<Row> rows) {
        var counts = new LinkedHashMap<String, TreeMap<Integer, TreeMap<Integer, Double>>>();
        for (var row : rows)
            if (row.expert() != null && row.layer() != null && row.metric().equals("count"))
                counts.computeIfAbsent(row.method(), m -> new TreeMap<>())
                        .computeIfAbsent(row.layer(), l -> new TreeMap<>())
                        .merge(row.expert(), row.value(), Double::sum);
        double most = Math.max(
                1,
                counts.values().stream()
                        .flatMap(layers -> layers.values().stream())
                        .mapToDouble(RoutingFigures::maxOverMean)
                        .max()
                        .orElse(1));
        var maps = new LinkedHashMap<String, HeatMap>();
        counts.forEach((method, layers) -> maps.put(method, heat(layers, most)));
        if (maps.size() <= 2) return maps;
        String first = maps.keySet().iterator().next(), best = best(rows, maps);
        maps.keySet().removeIf(method -> !method.equals(first) && !method.equals(best));
        return maps;
    }

    private static String best(List<Row> rows, Map<String, HeatMap> maps) {
        var global = new LinkedHashMap<String, List<Double>>();
        for (var row : rows)
            if (row.metric().equals(Metric.MAX_VIO_GLOBAL.key())
                    && row.layer() == null
                    && maps.containsKey(row.method()))
                global.computeIfAbsent(row.method(), m -> new ArrayList<>()).add(row.value());
        return global.entrySet().stream()
                .min((a, b) -> Double.compare(Stats.meanOf(a.getValue()), Stats.meanOf(b.getValue())))
                .map(Map.Entry::getKey)
                .orElse("");
    }

    private static double maxOverMean(Map<Integer, Double> count) {
        double mean = Stats.meanOf(count.values());
        return mean == 0 ? 0 : Stats.of(count.values()).max() / mean;
    }

    private static HeatMap heat(Map<Integer, ? extends Map<Integer, Double>> layers, double most) {
        var experts = layers.values().stream()
                .flatMap(l -> l.keySet().stream())
                .distinct()
                .sorted()
                .toList();
        var values = new ArrayList<List<Double>>();
        layers.forEach((layer, count) -> {
            double mean = Stats.meanOf(count.values());
            values.add(experts.stream()
                    .map(e -> mean == 0 ? 0 : count.getOrDefault(e, 0.0) / mean)
                    .toList());
        });
        return new HeatMap(
                Axis.of("expert", ""),
                experts.stream().map(String::valueOf).toList(),
                Axis.of("layer", ""),
                layers.keySet().stream().map(String::valueOf).toList(),
                Axis.of("load / mean", ""),
                0,
                most,
                values);
    }

    /** Where all settings are alike, the methods alone need a column. */
    private static Table summary(List<Row> rows, boolean one) {
        var summary = new Summary();
        rows.forEach(summary::add);
        var header = new ArrayList<>(List.of("method"));
        if (!one) header.add("setting");
        SHOWN.forEach(metric -> header.add(metric.key()));
        var table = new ArrayList<List<?>>();
        summary.table().rowMap().forEach((s, metrics) -> {
            var row = new ArrayList<Object>(List.of(s.method()));
            if (!one)
                row.add(new Setting(s.input(), s.experts(), s.chosen(), s.groups(), s.kept(), s.batch(), s.drift())
                        .toString());
            for (var metric : SHOWN) {
                var stats = metrics.get(metric.key());
                row.add(stats == null ? "–" : "%.4f ± %.4f".formatted(stats.mean(), Summary.deviation(stats)));
            }
            table.add(row);
        });
        return new Table(header, table);
    }
}
