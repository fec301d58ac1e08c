package org.panamoe.cli;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Path;
import java.util.concurrent.Callable;
import org.panamoe.lab.routing.Sweep;
import org.panamoe.lab.routing.SweepConfig;
import picocli.CommandLine.Command;
import picocli.CommandLine.Option;

@Command(
        name = "sweep",
        sortOptions = false,
        header = "Plays many methods, rates, shapes and seeds, as a file says.",
        description = {
            "%nThe file is one JSON object; lists are multiplied with each other: input, methods, rates, experts, chosen,"
                    + " groups (KEPT/GROUPS), drift, batches, seeds (at least three); once each: computation_batch, epochs,"
                    + " warm_up, ranks, nodes, detail (curves and counts too).%n",
            "The folder gets results.jsonl and results.csv with one schema, and summary.csv with mean and deviation over"
                    + " seeds. A sweep that was stopped goes on where it was; the same file gives the same bytes.%n"
        })
final class BalanceSweepCommand implements Callable<Integer> {
    @Option(names = "--config", paramLabel = "FILE", required = true, description = "What to vary.")
    @SuppressWarnings("NullAway.Init") // picocli sets it
    private Path config;

    @Option(names = "--output", paramLabel = "DIR", required = true, description = "Where results go.")
    @SuppressWarnings("NullAway.Init") // picocli sets it
    private Path output;

    @Option(names = "--threads", paramLabel = "N", description = "Default: all processors. Changes no result.")
    private int threads = Runtime.getRuntime().availableProcessors();

    private final Console console;

    BalanceSweepCommand(Console console) {
        this.console = console;
    }

    @Override
    public Integer call() throws IOException {
        if (threads < 1) throw new IllegalArgumentException("--threads %d: at least 1".formatted(threads));
        try (var sweep = new Sweep(SweepConfig.read(config))) {
            try (var progress = new Progress(console, "sweep", sweep.size())) {
                sweep.run(output, threads, progress::step);
            }
            console.println("%d runs: %s".formatted(sweep.size(), output.resolve("results.jsonl")));
        } catch (UncheckedIOException e) {
            throw new IOException(e.getMessage(), e);
        }
        return 0;
    }
}
