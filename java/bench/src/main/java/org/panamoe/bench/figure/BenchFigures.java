package org.panamoe.bench.figure;

import java.util.ArrayList;
import java.util.Comparator;
import java.util.LinkedHashMap;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.TreeSet;
import java.util.function.ToDoubleFunction;
import java.util.stream.Collectors;
import org.panamoe.report.Axis;
import org.panamoe.report.Page;
import org.panamoe.report.Plot;
import org.panamoe.report.Table;
import tools.jackson.databind.JsonNode;

/** What bench wrote with --json, as figures: rooflines, and how speed goes with rows, batch, prompt, depth and threads. */
public final class BenchFigures {
    /** Parameters that speed is drawn over. */
    private static final List<String> OVER = List.of("rows", "batch", "prompt", "depth", "threads");

    private BenchFigures() {}

    /**
     * Adds all that the reports allow.
     *
     * @param reports by the names of their files
     * @throws IllegalArgumentException if one is none
     */
    public static void add(Page page, Map<String, JsonNode> reports) {
        var results = new ArrayList<Measured>();
        reports.forEach((file, report) -> results.addAll(Measured.of(file, report)));
        boolean files = reports.size() > 1;
        for (int threads : new TreeSet<>(results.stream().map(Measured::threads).toList()))
            addRoofline(
                    page,
                    threads,
                    results.stream().filter(r -> r.threads() == threads).toList(),
                    files);
        for (String parameter : OVER) addScaling(page, parameter, results, files);
        page.add("Results", "Medians. Shares are of what the machine could do in the same run.", table(results, files));
        reports.forEach((file, report) -> page.add("Machine: " + file, "", machine(report)));
    }

    // ------------------------------------------------------------------------------------------------- roofline

    private static void addRoofline(Page page, int threads, List<Measured> results, boolean files) {
        var placed = results.stream().filter(r -> r.flopsPerSecond() > 0).toList();
        if (placed.isEmpty()) return;
        var series = new ArrayList<Plot.Series>();
        placed.stream()
                .collect(Collectors.groupingBy(Measured::name, LinkedHashMap::new, Collectors.toList()))
                .forEach((name, all) -> {
                    var varying = varying(all, "threads", files);
                    series.add(new Plot.Series(
                            name,
                            all.stream()
                                    .map(r -> new Plot.Point(r.intensity(), r.flopsPerSecond() / 1e9, text(r, varying)))
                                    .toList()));
                });
        double least = placed.stream().mapToDouble(Measured::intensity).min().orElseThrow() / 2;
        double most = placed.stream().mapToDouble(Measured::intensity).max().orElseThrow() * 2;
        var roofs = placed.stream()
                .collect(Collectors.groupingBy(
                        r -> r.roof() + (files ? ", " + r.file() : ""), TreeMap::new, Collectors.toList()));
        var guides = new ArrayList<Plot.Series>();
        roofs.forEach((name, under) -> guides.add(roof(name, under, least, most)));
        page.add(
                "Roofline, %d %s".formatted(threads, threads == 1 ? "thread" : "threads"),
                "Operations per second against operations for each byte that must move. The roofs are what the machine read"
                        + " and multiplied in the same run, with the same threads; what has its inputs in a cache may lie"
                        + " above the slope. What only moves data is in the table.",
                new Plot(
                        Axis.log("operations for a byte", "FLOP/byte"),
                        Axis.log("operations per second", "GFLOP/s"),
                        false,
                        series,
                        guides));
    }

    /** The bandwidth's slope up to where the rate is reached, then level. */
    private static Plot.Series roof(String name, List<Measured> under, double least, double most) {
        double bandwidth = median(under, Measured::bandwidth), peak = median(under, Measured::peak);
        double ridge = peak / bandwidth, from = Math.min(least, ridge / 2), to = Math.max(most, ridge * 2);
        return new Plot.Series(
                "%s: %.3g GB/s, %.4g G/s".formatted(name, bandwidth / 1e9, peak / 1e9),
                List.of(
                        new Plot.Point(from, from * bandwidth / 1e9),
                        new Plot.Point(ridge, peak / 1e9),
                        new Plot.Point(to, peak / 1e9)));
    }

    private static double median(List<Measured> of, ToDoubleFunction<Measured> value) {
        var sorted = of.stream().mapToDouble(value).sorted().toArray();
        return sorted[sorted.length / 2];
    }

    // -------------------------------------------------------------------------------------------------- scaling

    /** A chart for each name that was measured with several values of the parameter. */
    private static void addScaling(Page page, String parameter, List<Measured> results, boolean files) {
        var names = results.stream()
                .filter(r -> r.parameters().containsKey(parameter))
                .collect(Collectors.groupingBy(Measured::name, LinkedHashMap::new, Collectors.toList()));
        names.forEach((name, all) -> {
            if (all.stream().map(r -> r.parameter(parameter)).distinct().count() < 2) return;
            var varying = varying(all, parameter, files);
            var lines = all.stream()
                    .sorted(Comparator.comparingDouble(r -> Double.parseDouble(r.parameter(parameter))))
                    .collect(Collectors.groupingBy(r -> text(r, varying), LinkedHashMap::new, Collectors.toList()));
            var y = speed(all);
            var series = new ArrayList<Plot.Series>();
            lines.forEach((line, points) -> series.add(new Plot.Series(
                    line.isEmpty() ? name : line,
                    points.stream()
                            .map(r -> new Plot.Point(Double.parseDouble(r.parameter(parameter)), y.of(r)))
                            .toList())));
            boolean zero = all.stream().anyMatch(r -> r.parameter(parameter).equals("0"));
            page.add(
                    "%s over %s".formatted(name, parameter),
                    "",
                    new Plot(new Axis(parameter, "", !zero), y.axis, true, series));
        });
    }

    private record Speed(Axis axis, ToDoubleFunction<Measured> value) {
        double of(Measured result) {
            return value.applyAsDouble(result);
        }
    }

    /** Tokens, where there are any; operations; else bytes. */
    private static Speed speed(List<Measured> results) {
        if (results.stream().allMatch(r -> r.tokens() > 0))
            return new Speed(Axis.log("tokens per second", ""), Measured::tokens);
        if (results.stream().allMatch(r -> r.flopsPerSecond() > 0))
            return new Speed(Axis.log("operations per second", "GFLOP/s"), r -> r.flopsPerSecond() / 1e9);
        return new Speed(Axis.log("bytes per second", "GB/s"), r -> r.bytesPerSecond() / 1e9);
    }

    /** What else differs between these. */
    private static List<String> varying(List<Measured> results, String but, boolean files) {
        var keys = new LinkedHashSet<String>();
        for (var r : results) keys.addAll(r.parameters().keySet());
        keys.remove(but);
        keys.removeIf(
                key -> results.stream().map(r -> r.parameter(key)).distinct().count() < 2);
        if (files && results.stream().map(Measured::file).distinct().count() > 1) keys.add("file");
        return List.copyOf(keys);
    }

    private static String text(Measured result, List<String> keys) {
        return keys.stream()
                .map(key -> key.equals("file") ? result.file() : key + " " + result.parameter(key))
                .collect(Collectors.joining(", "));
    }

    // --------------------------------------------------------------------------------------------------- tables

    private static String label(Measured result, boolean files) {
        var text = result.parameters().entrySet().stream()
                .filter(each -> !each.getKey().equals("threads"))
                .map(each -> each.getKey() + " " + each.getValue())
                .collect(Collectors.joining(", "));
        return files ? text + ", " + result.file() : text;
    }

    private static Table table(List<Measured> results, boolean files) {
        var header = List.of(
                "what",
                "parameters",
                "threads",
                "us",
                "tokens/s",
                "GB/s",
                "of bandwidth (%)",
                "GFLOP/s",
                "of peak (%)");
        var rows = new ArrayList<List<?>>();
        for (var r : results)
            rows.add(List.of(
                    r.name(),
                    label(r, files),
                    r.threads(),
                    1e6 * r.seconds(),
                    r.tokens() > 0 ? r.tokens() : Double.NaN,
                    r.bytesPerSecond() / 1e9,
                    100 * r.shareOfBandwidth(),
                    r.flopsPerSecond() / 1e9,
                    100 * r.shareOfPeak()));
        return new Table(header, rows);
    }

    /** The machine's card as it was measured on, and its limits. */
    private static Table machine(JsonNode report) {
        var rows = new ArrayList<List<?>>();
        for (var each : report.path("machine").properties())
            rows.add(List.of(each.getKey(), text(each.getKey(), each.getValue())));
        for (var threads : report.path("limits").properties())
            for (var limit : threads.getValue().properties())
                rows.add(List.of(
                        "limit, " + threads.getKey().replace('_', ' '),
                        limit.getKey() + " " + "%.4g".formatted(limit.getValue().asDouble())));
        return new Table(List.of("", "value"), rows);
    }

    private static String text(String key, JsonNode value) {
        if (value.isArray()) {
            var parts = new ArrayList<String>();
            value.forEach(part -> parts.add(part.asString()));
            return String.join(", ", parts);
        }
        String text = value.asString();
        if (!key.equals("flags")) return text;
        // A hundred others say nothing about arithmetic.
        return List.of(text.split(" ", -1)).stream()
                .filter(flag -> flag.matches("avx.*|amx.*|fma|f16c|sse4_.|asimd.*|sve.*"))
                .collect(Collectors.joining(" "));
    }
}
