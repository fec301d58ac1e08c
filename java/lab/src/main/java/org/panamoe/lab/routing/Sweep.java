package org.panamoe.lab.routing;

import com.google.common.collect.ImmutableList;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.util.ArrayList;
import java.util.HashSet;
import java.util.List;
import java.util.concurrent.Callable;

/**
 * Runs every cell of a sweep, several at once, each on one thread. A cell's rows go to a file of its own that appears when
 * the cell is done; a sweep that was stopped goes on where it was. What is written depends on the configuration alone, not
 * on threads, interruptions or time, to the byte.
 */
public final class Sweep implements AutoCloseable {
    private final List<Trace> traces = new ArrayList<>();
    private final ImmutableList<Cell> cells;

    /** Opens the inputs, and refuses what cannot run, before anything is computed. */
    public Sweep(SweepConfig config) {
        boolean made = false;
        try {
            cells = plan(config);
            made = true;
        } finally {
            if (!made) close();
        }
    }

    public int size() {
        return cells.size();
    }

    private ImmutableList<Cell> plan(SweepConfig config) {
        var input = Input.of(config.input);
        var methods = methods(config);
        var all = ImmutableList.<Cell>builder();
        for (String stream : streams(config)) {
            var of = new Input(stream, input.fingerprint());
            var opened = of.open(Input.Sizes.UNKNOWN);
            traces.add(opened);
            for (String groups : config.groups) {
                var trace = Input.regroup(opened, groups);
                for (int batch : config.batches) {
                    int atOnce = config.computationBatch == 0 ? batch : config.computationBatch;
                    var replay = new Replay(
                            trace,
                            Comparison.geometry(trace, config.ranks, config.nodes),
                            batch,
                            atOnce,
                            config.epochs,
                            config.warmUp);
                    for (var method : methods) {
                        Methods.make(
                                method, trace.rule(), trace.bias(trace.layers().getFirst()));
                        for (int seed : config.seeds)
                            all.add(new Cell(
                                    replay,
                                    trace.name(),
                                    input.fingerprint(),
                                    method,
                                    of.drift(),
                                    seed,
                                    config.detail));
                    }
                }
            }
        }
        var cells = all.build();
        var names = new HashSet<String>();
        for (var cell : cells)
            if (!names.add(cell.run()))
                throw new IllegalArgumentException("%s, seed %d, comes twice".formatted(cell.method(), cell.seed()));
        return cells;
    }

    private static List<MethodSpec> methods(SweepConfig config) {
        var all = new ArrayList<MethodSpec>();
        for (String text : config.methods) {
            var method = MethodSpec.parse(text);
            boolean varies =
                    Methods.hasRate(method.method()) && !method.parameters().containsKey("rate");
            if (varies && !config.rates.isEmpty()) for (String rate : config.rates) all.add(method.with("rate", rate));
            else all.add(method);
        }
        return all;
    }

    private static List<String> streams(SweepConfig config) {
        if (!Input.isSynthetic(config.input)) return List.of(config.input);
        var specs = List.of(MethodSpec.parse(config.input));
        specs = vary(specs, "experts", config.experts);
        specs = vary(specs, "chosen", config.chosen);
        specs = vary(specs, "drift", config.drift);
        return specs.stream().map(MethodSpec::toString).toList();
    }

    private static List<MethodSpec> vary(List<MethodSpec> specs, String key, List<String> values) {
        if (values.isEmpty()) return specs;
        return specs.stream()
                .flatMap(spec -> values.stream().map(value -> spec.with(key, value)))
                .toList();
    }

    /**
     * Runs the cells that are not there yet, then writes results.jsonl, results.csv and summary.csv.
     *
     * @param done called after each cell, also after one that was there
     */
    public void run(Path folder, int threads, Runnable done) throws IOException {
        var parts = Files.createDirectories(folder.resolve("cells"));
        var tasks = new ArrayList<Callable<Path>>();
        for (var cell : cells) {
            var part = parts.resolve(cell.run() + ".jsonl");
            tasks.add(() -> {
                if (!Files.exists(part)) write(part, ResultFiles.json(cell.rows(cell.play())));
                synchronized (this) {
                    done.run();
                }
                return part;
            });
        }
        var written = Replay.all(tasks, threads);
        ResultFiles.collect(written, folder);
    }

    static void write(Path file, String content) {
        var part = file.resolveSibling(file.getFileName() + ".part");
        try {
            Files.writeString(part, content, StandardCharsets.UTF_8);
            Files.move(part, file, StandardCopyOption.ATOMIC_MOVE, StandardCopyOption.REPLACE_EXISTING);
        } catch (IOException e) {
            throw new UncheckedIOException(file + ": cannot be written: " + e.getMessage(), e);
        }
    }

    @Override
    public void close() {
        traces.forEach(Trace::close);
    }
}
