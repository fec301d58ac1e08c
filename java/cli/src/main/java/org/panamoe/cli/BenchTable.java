package org.panamoe.cli;

import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.stream.Collectors;
import java.util.stream.IntStream;
import org.panamoe.bench.Report;
import org.panamoe.bench.Result;
import tools.jackson.databind.JsonNode;

/** Measurements for people. */
final class BenchTable {
    private static final List<String> HEAD =
            List.of("what", "threads", "", "95 %", "GB/s", "of bandwidth", "GFLOP/s", "of peak", "CPU/wall", "samples");

    private BenchTable() {}

    static String text(Report report) {
        var rows = rows(report);
        int[] width = new int[HEAD.size()];
        for (var row : rows)
            for (int i = 0; i < width.length; i++)
                width[i] = Math.max(width[i], row.get(i).length());
        var text = new StringBuilder(about(report)).append('\n');
        for (var row : rows)
            text.append(IntStream.range(0, width.length)
                            .mapToObj(i -> i == 0
                                    ? String.format(Locale.ROOT, "%-" + width[i] + "s", row.get(i))
                                    : String.format(Locale.ROOT, "%" + width[i] + "s", row.get(i)))
                            .collect(Collectors.joining("  ")))
                    .append('\n');
        return text.toString();
    }

    static String markdown(Report report) {
        var rows = new ArrayList<>(rows(report));
        rows.add(
                1,
                HEAD.stream().map(name -> name.equals("what") ? "---" : "---:").toList());
        return about(report)
                + "\n\n"
                + rows.stream()
                        .map(row -> "| " + String.join(" | ", row) + " |\n")
                        .collect(Collectors.joining());
    }

    /** Every number of every result, under its name in JSON; samples apart by blanks. */
    static String csv(Report report) {
        var results = report.results().stream().map(Result::json).toList();
        var keys = results.stream()
                .flatMap(result -> result.propertyNames().stream())
                .distinct()
                .toList();
        var text = new StringBuilder(String.join(",", keys)).append('\n');
        for (var result : results)
            text.append(keys.stream().map(key -> cell(result.path(key))).collect(Collectors.joining(",")))
                    .append('\n');
        return text.toString();
    }

    private static String cell(JsonNode value) {
        if (!value.isArray()) return value.asString("");
        var each = new ArrayList<String>();
        value.forEach(sample -> each.add(sample.asString()));
        return String.join(" ", each);
    }

    private static String about(Report report) {
        var machine = report.machine();
        return "%s; %s, %s; load %.1f to %.1f, %.0f %% stolen"
                .formatted(
                        report.subject(),
                        machine.path("cpu").asString(),
                        machine.path("backend").asString(),
                        machine.path("load_average_before").asDouble(),
                        machine.path("load_average_after").asDouble(),
                        100 * machine.path("stolen").asDouble());
    }

    private static List<List<String>> rows(Report report) {
        var rows = new ArrayList<List<String>>();
        var head = new ArrayList<>(HEAD);
        head.set(2, report.results().getFirst().unit());
        rows.add(head);
        for (var result : report.results()) {
            var samples = result.samples();
            double slow = result.speed(samples.high()), fast = result.speed(samples.low());
            rows.add(List.of(
                    result.description(),
                    String.valueOf(result.threads()),
                    number(result.speed(samples.median())),
                    number(Math.min(slow, fast)) + " to " + number(Math.max(slow, fast)),
                    number(result.bytes() / samples.median() / 1e9),
                    percent(result.shareOfBandwidth()),
                    number(result.flops() / samples.median() / 1e9),
                    percent(result.shareOfPeak()),
                    number(result.cpuSeconds() / result.wallSeconds()),
                    String.valueOf(samples.seconds().size())));
        }
        return rows;
    }

    private static String percent(double share) {
        return String.format(Locale.ROOT, "%.0f %%", 100 * share);
    }

    private static String number(double value) {
        int decimals = value >= 100 ? 0 : value >= 10 ? 1 : 2;
        return String.format(Locale.ROOT, "%." + decimals + "f", value);
    }
}
