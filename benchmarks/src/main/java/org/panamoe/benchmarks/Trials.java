package org.panamoe.benchmarks;

import java.io.IOException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Collection;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.TreeSet;
import org.jspecify.annotations.Nullable;
import org.openjdk.jmh.infra.BenchmarkParams;
import org.openjdk.jmh.infra.IterationParams;
import org.openjdk.jmh.results.BenchmarkResult;
import org.openjdk.jmh.results.IterationResult;
import org.openjdk.jmh.results.RunResult;
import org.openjdk.jmh.runner.format.OutputFormat;
import org.panamoe.backend.Backend;
import org.panamoe.bench.Machine;
import tools.jackson.databind.ObjectMapper;
import tools.jackson.databind.node.ObjectNode;

/** JMH's own output, with the machine before each trial, its load after it, and a summary at the end. */
final class Trials implements OutputFormat {
    /** Of the CPU's flags those that kernels are written for. */
    private static final List<String> TELLING = List.of(
            "avx2",
            "fma",
            "f16c",
            "avx_vnni",
            "avx512f",
            "avx512_vnni",
            "avx512_bf16",
            "avx512_fp16",
            "amx_int8",
            "amx_bf16");

    private final OutputFormat jmh;
    private final Machine machine = Machine.read();
    private final String library = library();
    private final List<String> absent = new ArrayList<>();
    private final Map<BenchmarkParams, ObjectNode> cards = new HashMap<>();
    private Machine.Load before = Machine.Load.now();

    Trials(OutputFormat jmh) {
        this.jmh = jmh;
    }

    private static String library() {
        return switch (Backend.find("cpu")) {
            case Backend.Ready(var kernels) -> {
                try (kernels) {
                    yield kernels.describe();
                }
            }
            case Backend.Absent(var reason) -> "cpu: " + reason;
        };
    }

    /** What is absent is told before and after the run. */
    boolean isPresent(Baseline baseline) {
        var reason = baseline.absence();
        reason.ifPresent(why -> absent.add("%s is absent: %s".formatted(baseline, why)));
        return reason.isEmpty();
    }

    @Override
    public void startRun() {
        jmh.startRun();
        absent.forEach(line -> jmh.println("# " + line));
    }

    @Override
    public void startBenchmark(BenchmarkParams params) {
        jmh.startBenchmark(params);
        var flags = new TreeSet<>(machine.flags());
        flags.retainAll(TELLING);
        jmh.println("# Machine: %s, %d processors, %s, %s"
                .formatted(
                        machine.cpu(),
                        Runtime.getRuntime().availableProcessors(),
                        String.join(" ", flags),
                        String.join(", ", machine.caches())));
        jmh.println("# System: %s %s, transparent huge pages: %s"
                .formatted(
                        System.getProperty("os.name"),
                        System.getProperty("os.version"),
                        machine.hugePages().orElse("unknown")));
        jmh.println("# Library: " + library);
        before = Machine.Load.now();
        jmh.println("# Load average: " + before.average());
    }

    @Override
    public void endBenchmark(@Nullable BenchmarkResult result) {
        var after = Machine.Load.now();
        jmh.println("# Load average: %s after %s, stolen: %.1f %%"
                .formatted(after.average(), before.average(), 100 * after.stolenSince(before)));
        if (result != null) cards.put(result.getParams(), machine.json(before, library));
        jmh.endBenchmark(result);
    }

    @Override
    public void endRun(Collection<RunResult> results) {
        jmh.endRun(results);
        jmh.println("");
        jmh.print(Summary.of(results));
        absent.forEach(jmh::println);
    }

    /** Every result in the file that JMH wrote gets {@code machine}: the card of its own trial. */
    void addCards(Path file, Collection<RunResult> results) {
        var mapper = new ObjectMapper();
        var written = mapper.readTree(file).asArray();
        int i = 0; // JMH writes them in their order
        for (var result : results) {
            var card = cards.get(result.getParams());
            if (card != null) ((ObjectNode) written.get(i)).set("machine", card);
            i++;
        }
        mapper.writerWithDefaultPrettyPrinter().writeValue(file, written);
    }

    @Override
    public void iteration(BenchmarkParams params, IterationParams iteration, int number) {
        jmh.iteration(params, iteration, number);
    }

    @Override
    public void iterationResult(BenchmarkParams params, IterationParams iteration, int number, IterationResult result) {
        jmh.iterationResult(params, iteration, number, result);
    }

    @Override
    public void print(String text) {
        jmh.print(text);
    }

    @Override
    public void println(String line) {
        jmh.println(line);
    }

    @Override
    public void verbosePrintln(String line) {
        jmh.verbosePrintln(line);
    }

    @Override
    public void write(int b) {
        jmh.write(b);
    }

    @Override
    public void write(byte[] bytes) throws IOException {
        jmh.write(bytes);
    }

    @Override
    public void flush() {
        jmh.flush();
    }

    @Override
    public void close() {
        jmh.close();
    }
}
