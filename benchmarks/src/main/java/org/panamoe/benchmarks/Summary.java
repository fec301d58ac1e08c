package org.panamoe.benchmarks;

import com.google.common.base.Strings;
import com.google.common.math.Quantiles;
import com.google.common.math.Stats;
import java.util.ArrayList;
import java.util.Collection;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.concurrent.TimeUnit;
import java.util.stream.Collectors;
import java.util.stream.IntStream;
import org.openjdk.jmh.annotations.Mode;
import org.openjdk.jmh.infra.BenchmarkParams;
import org.openjdk.jmh.results.IterationResult;
import org.openjdk.jmh.results.Result;
import org.openjdk.jmh.results.RunResult;
import org.panamoe.bench.Samples;

/**
 * One line for each benchmark. Every iteration is one sample: the time of an operation is their median, with the interval
 * of {@link Samples}, and {@code noise} is their standard deviation as a part of their mean. Rates are medians, too.
 */
final class Summary {
    private static final List<String> HEAD =
            List.of("benchmark", "time", "low", "high", "noise", "GB/s", "GFLOP/s", "share", "CPU/wall", "parameters");

    /** Counters that are shares of a limit, and what it is called. */
    private static final Map<String, String> LIMITS =
            Map.of("ofBandwidth", "bandwidth", "ofFmaRate", "fp32", "ofInt8Rate", "int8");

    private Summary() {}

    static String of(Collection<RunResult> results) {
        var lines = new ArrayList<List<String>>();
        lines.add(HEAD);
        for (var result : results) lines.add(line(result));
        int[] widths = IntStream.range(0, HEAD.size() - 1)
                .map(i -> lines.stream()
                        .mapToInt(line -> line.get(i).length())
                        .max()
                        .orElse(0))
                .toArray();
        return lines.stream().map(line -> aligned(line, widths)).collect(Collectors.joining());
    }

    private static List<String> line(RunResult result) {
        var params = result.getParams();
        var iterations = result.getBenchmarkResults().stream()
                .flatMap(fork -> fork.getIterationResults().stream())
                .toList();
        var seconds = iterations.stream()
                .map(iteration -> secondsPerOperation(params, iteration.getPrimaryResult()))
                .toList();
        var samples = new Samples(seconds);
        var stats = Stats.of(seconds);
        return List.of(
                params.getBenchmark().replaceFirst(".*\\.(?=[^.]+\\.)", ""),
                time(samples.median()),
                time(samples.low()),
                time(samples.high()),
                seconds.size() < 2 ? "" : "%.1f %%".formatted(100 * stats.sampleStandardDeviation() / stats.mean()),
                perSecond(params, iterations, "GB").map(Summary::number).orElse(""),
                perSecond(params, iterations, "GFLOP").map(Summary::number).orElse(""),
                share(params, iterations),
                perSecond(params, iterations, "cpuSeconds")
                        .map("%.2f"::formatted)
                        .orElse(""),
                params.getParamsKeys().stream()
                        .filter(key -> !params.getParam(key).isEmpty())
                        .map(key -> key + "=" + params.getParam(key))
                        .collect(Collectors.joining(" ")));
    }

    /** Of the limit that is nearest. */
    private static String share(BenchmarkParams params, List<IterationResult> iterations) {
        return LIMITS.keySet().stream()
                .flatMap(counter ->
                        perSecond(params, iterations, counter)
                                .map(share -> Map.entry(share, LIMITS.get(counter)))
                                .stream())
                .max(Map.Entry.comparingByKey())
                .map(nearest -> "%.2f %s".formatted(nearest.getKey(), nearest.getValue()))
                .orElse("");
    }

    private static double secondsPerOperation(BenchmarkParams params, Result<?> result) {
        double unit = secondsOf(params.getTimeUnit());
        return params.getMode() == Mode.Throughput ? unit / result.getScore() : result.getScore() * unit;
    }

    /** JMH divides a counter by the time where operations are, and the time by the counter where it measures that. */
    private static Optional<Double> perSecond(
            BenchmarkParams params, List<IterationResult> iterations, String counter) {
        if (params.getMode() != Mode.Throughput && params.getMode() != Mode.AverageTime) return Optional.empty();
        double unit = secondsOf(params.getTimeUnit());
        var rates = iterations.stream()
                .flatMap(iteration ->
                        Optional.ofNullable(iteration.getSecondaryResults().get(counter)).stream())
                .map(result ->
                        params.getMode() == Mode.Throughput ? result.getScore() / unit : 1 / (result.getScore() * unit))
                .toList();
        return rates.isEmpty()
                ? Optional.empty()
                : Optional.of(Quantiles.median().compute(rates));
    }

    private static double secondsOf(TimeUnit unit) {
        return unit.toNanos(1) / 1e9;
    }

    private static String time(double seconds) {
        return seconds >= 1
                ? "%.3g s".formatted(seconds)
                : seconds >= 1e-3
                        ? "%.3g ms".formatted(seconds * 1e3)
                        : seconds >= 1e-6 ? "%.3g us".formatted(seconds * 1e6) : "%.3g ns".formatted(seconds * 1e9);
    }

    private static String number(double value) {
        return value >= 100 ? "%.0f".formatted(value) : value >= 1 ? "%.1f".formatted(value) : "%.3f".formatted(value);
    }

    /** The first column and the last one begin on the left. */
    private static String aligned(List<String> line, int[] widths) {
        var text = new StringBuilder(Strings.padEnd(line.getFirst(), widths[0], ' '));
        for (int i = 1; i < widths.length; i++) text.append("  ").append(Strings.padStart(line.get(i), widths[i], ' '));
        return text.append("  ").append(line.getLast()).append('\n').toString();
    }
}
