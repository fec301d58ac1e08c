package org.panamoe.cli;

import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import java.util.Locale;
import org.jspecify.annotations.Nullable;
import org.panamoe.bench.Plan;
import org.panamoe.bench.Shape;
import org.panamoe.bench.Slice;
import org.panamoe.bench.WeightFormats;
import org.panamoe.bench.Work;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;
import picocli.CommandLine.ParameterException;
import picocli.CommandLine.Spec;

/** What the measuring commands have in common: the slice, how long to measure, and how to tell. */
final class BenchOptions {
    enum Format {
        table,
        markdown,
        csv,
        json
    }

    @Option(
            names = "--shape",
            paramLabel = "NAME",
            description = "Whose widths: v3 (DeepSeek-V3, R1), v2-lite or kimi-k2.")
    private String shape = "v3";

    @Option(names = "--layers", paramLabel = "N", description = "Layers.")
    private int layers = 2;

    @Option(names = "--dense", paramLabel = "N", description = "Of them, the first N have no experts.")
    private int dense = 1;

    @Option(
            names = "--experts",
            paramLabel = "E",
            description = "Experts of each other layer; without it as many as the published model has.")
    private @Nullable Integer experts;

    @Option(
            names = "--vocab",
            paramLabel = "V",
            description = "Tokens of the vocabulary; without it 32768, for v2-lite 102400.")
    private @Nullable Integer vocab;

    @Option(
            names = "--weights",
            paramLabel = "FORMAT",
            description = "How projections are stored: f32, bf16, fp8, int8, int4. The rest is bf16.")
    private String weights = "bf16";

    @Option(names = "--batch", paramLabel = "B,..", split = ",", description = "Sequences side by side.")
    private List<Integer> batch = List.of(1);

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

    @Option(names = "--seconds", paramLabel = "S", description = "Of each round for each point; at least one step.")
    private double seconds = 2;

    @Option(names = "--format", paramLabel = "FORMAT", description = "How to tell: table, markdown, csv or json.")
    private Format format = Format.table;

    @Option(names = "--json", description = "The same as --format json.")
    private boolean json;

    @Option(names = "--output", paramLabel = "FILE", description = "Writes it there, and not to stdout.")
    private @Nullable Path output;

    @Spec(Spec.Target.MIXEE)
    @SuppressWarnings("NullAway.Init") // picocli sets it
    private CommandSpec command;

    List<Integer> batch() {
        return within("--batch", batch, 1, 1 << 16);
    }

    List<Integer> within(String option, List<Integer> values, int least, int most) {
        for (int value : values)
            if (value < least || value > most)
                throw wrong("%s %d: not in [%d, %d]".formatted(option, value, least, most));
        return values;
    }

    /** Measures, with progress on stderr, and tells. */
    void run(Console console, List<Work> work) throws IOException {
        within("--threads", threads, 0, BackendOption.MOST_THREADS);
        if (rounds < 1 || rounds > 1000) throw wrong("--rounds %d: not in [1, 1000]".formatted(rounds));
        if (!(seconds >= 0 && seconds <= 3600)) throw wrong("--seconds %s: not in [0, 3600]".formatted(seconds));
        var slice = slice();
        var file = output;
        if (file != null) OutputFile.check(file);
        var plan = new Plan(slice, work, threads, rounds, seconds);
        var report = plan.run(what -> {
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

    private Slice slice() {
        var widths = Arrays.stream(Shape.values())
                .filter(known -> known.toString().equals(shape.toLowerCase(Locale.ROOT)))
                .findFirst()
                .orElseThrow(() -> wrong("--shape %s: there are v3, v2-lite and kimi-k2".formatted(shape)));
        try {
            var slice = new Slice(
                    widths,
                    layers,
                    dense,
                    experts == null ? widths.experts() : experts,
                    vocab == null ? widths.vocab() : vocab,
                    WeightFormats.of(weights));
            slice.config(); // refuses what does not fit together
            return slice;
        } catch (IllegalArgumentException e) {
            throw wrong(Reason.of(e));
        }
    }

    private ParameterException wrong(String message) {
        return new ParameterException(command.commandLine(), message);
    }
}
