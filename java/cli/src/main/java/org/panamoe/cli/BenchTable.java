package org.panamoe.cli;

import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.stream.Collectors;
import java.util.stream.IntStream;
import org.panamoe.bench.Profile;
import org.panamoe.bench.Report;
import org.panamoe.bench.Result;
import tools.jackson.databind.JsonNode;
import tools.jackson.databind.node.ObjectNode;

/** Measurements for people. */
final class BenchTable {
    private static final List<String> HEAD =
            List.of("what", "threads", "", "95 %", "GB/s", "of bandwidth", "GFLOP/s", "of peak", "CPU/wall", "samples");

    private BenchTable() {}

    static String text(Report report) {
        var text = new StringBuilder(about(report)).append('\n').append(aligned(rows(report)));
        for (var result : report.results()) {
            var profile = result.profile();
            if (profile == null) continue;
            text.append('\n').append(title(result, profile)).append('\n');
            text.append(aligned(rows(profile))).append(calls(profile)).append('\n');
        }
        return text.toString();
    }

    static String markdown(Report report) {
        var text = new StringBuilder(about(report)).append("\n\n").append(ruled(rows(report)));
        for (var result : report.results()) {
            var profile = result.profile();
            if (profile == null) continue;
            text.append('\n').append(title(result, profile)).append("\n\n");
            text.append(ruled(rows(profile)))
                    .append('\n')
                    .append(calls(profile))
                    .append('\n');
        }
        return text.toString();
    }

    /** The first column to the left, numbers to the right. */
    private static String aligned(List<List<String>> rows) {
        int[] width = new int[rows.getFirst().size()];
        for (var row : rows)
            for (int i = 0; i < width.length; i++)
                width[i] = Math.max(width[i], row.get(i).length());
        var text = new StringBuilder();
        for (var row : rows)
            text.append(IntStream.range(0, width.length)
                            .mapToObj(i -> i == 0
                                    ? String.format(Locale.ROOT, "%-" + width[i] + "s", row.get(i))
                                    : String.format(Locale.ROOT, "%" + width[i] + "s", row.get(i)))
                            .collect(Collectors.joining("  ")))
                    .append('\n');
        return text.toString();
    }

    private static String ruled(List<List<String>> rows) {
        var ruled = new ArrayList<>(rows);
        ruled.add(
                1,
                IntStream.range(0, rows.getFirst().size())
                        .mapToObj(i -> i == 0 ? "---" : "---:")
                        .toList());
        return ruled.stream()
                .map(row -> "| " + String.join(" | ", row) + " |\n")
                .collect(Collectors.joining());
    }

    /**
     * Every number of every result, under its name in JSON; samples apart by blanks, of a profile the seconds of each
     * function.
     */
    static String csv(Report report) {
        var results = report.results().stream().map(BenchTable::flat).toList();
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

    private static ObjectNode flat(Result result) {
        var json = result.json();
        json.remove("profile");
        var profile = result.profile();
        if (profile != null) for (var part : profile.parts()) json.put("seconds " + part.name(), part.seconds());
        return json;
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

    private static String title(Result result, Profile profile) {
        return "Where a step of %s goes, threads %d: %s us, the mean of the faster half"
                .formatted(result.description(), result.threads(), number(1e6 * profile.seconds()));
    }

    private static List<List<String>> rows(Profile profile) {
        var rows = new ArrayList<List<String>>();
        rows.add(List.of("function", "calls", "us", "of the step"));
        for (var part : profile.parts())
            rows.add(List.of(
                    part.name(),
                    part.calls() == 0 ? "" : String.format(Locale.ROOT, "%.0f", part.calls()),
                    number(1e6 * part.seconds()),
                    String.format(Locale.ROOT, "%.2f %%", 100 * profile.share(part))));
        return rows;
    }

    /** What the checks of shapes, the boundary and the clock take is in the lines of the functions. */
    private static String calls(Profile profile) {
        return String.format(
                Locale.ROOT,
                "A call that has nothing to do takes %.2f us; %.0f of them, %.2f %% of the step, are in the lines above.",
                1e6 * profile.emptyCall(),
                profile.calls(),
                100 * profile.calls() * profile.emptyCall() / profile.seconds());
    }

    private static String percent(double share) {
        return String.format(Locale.ROOT, "%.0f %%", 100 * share);
    }

    private static String number(double value) {
        int decimals = value >= 100 ? 0 : value >= 10 ? 1 : 2;
        return String.format(Locale.ROOT, "%." + decimals + "f", value);
    }
}
