package org.panamoe.cli;

import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.List;
import java.util.function.Consumer;
import java.util.function.Function;
import org.jspecify.annotations.Nullable;
import org.panamoe.bench.Report;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;
import picocli.CommandLine.ParameterException;
import picocli.CommandLine.Spec;

/** What the measuring commands have in common: with how many threads and how long to measure, and how to tell. */
final class BenchOptions {
    enum Format {
        table,
        markdown,
        csv,
        json
    }

    @Option(
            names = "--threads",
            paramLabel = "T,..",
            split = ",",
            description = "Threads; 0 is one for each physical core.")
    private List<Integer> threads = List.of(0);

    @Option(
            names = "--rounds",
            paramLabel = "N",
            description = "Rounds over everything, so that a slow minute falls on all alike.")
    private int rounds = 3;

    @Option(
            names = "--seconds",
            paramLabel = "S",
            description = "Of each round for each point, at least one step; without it 2, of kernels 0.25.")
    private @Nullable Double seconds;

    @Option(names = "--format", paramLabel = "FORMAT", description = "How to tell: table, markdown, csv or json.")
    private Format format = Format.table;

    @Option(names = "--json", description = "The same as --format json.")
    private boolean json;

    @Option(names = "--output", paramLabel = "FILE", description = "Writes it there, and not to stdout.")
    private @Nullable Path output;

    @Spec(Spec.Target.MIXEE)
    @SuppressWarnings("NullAway.Init") // picocli sets it
    private CommandSpec command;

    List<Integer> threads() {
        return within("--threads", threads, 0, BackendOption.MOST_THREADS);
    }

    int rounds() {
        if (rounds < 1 || rounds > 1000) throw wrong("--rounds %d: not in [1, 1000]".formatted(rounds));
        return rounds;
    }

    /** @param usual where nothing else is asked for */
    double seconds(double usual) {
        double asked = seconds == null ? usual : seconds;
        if (!(asked >= 0 && asked <= 3600)) throw wrong("--seconds %s: not in [0, 3600]".formatted(asked));
        return asked;
    }

    List<Integer> within(String option, List<Integer> values, int least, int most) {
        for (int value : values)
            if (value < least || value > most)
                throw wrong("%s %d: not in [%d, %d]".formatted(option, value, least, most));
        return values;
    }

    /** Measures, with progress on stderr, and tells. */
    void run(Console console, Function<Consumer<String>, Report> plan) throws IOException {
        var file = output;
        if (file != null) OutputFile.check(file);
        var report = plan.apply(what -> {
            if (console.isWatched()) console.err().println(what);
        });
        String text = switch (json ? Format.json : format) {
            case json -> report.json().toPrettyString() + "\n";
            case csv -> BenchTable.csv(report);
            case markdown -> BenchTable.markdown(report);
            case table -> BenchTable.text(report);
        };
        if (file == null) console.print(text);
        else OutputFile.write(file, out -> out.write(text.getBytes(StandardCharsets.UTF_8)));
    }

    ParameterException wrong(String message) {
        return new ParameterException(command.commandLine(), message);
    }
}
