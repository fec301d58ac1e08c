package org.panamoe.cli;

import java.util.List;
import org.jspecify.annotations.Nullable;
import org.panamoe.bench.Shape;
import org.panamoe.bench.Slice;
import org.panamoe.bench.WeightFormats;
import picocli.CommandLine.Option;

/** Which slice of a model is measured, with how many sequences, and how closely. */
final class SliceOptions {
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
            description = "How projections are stored: f32, bf16, fp8, int8, int4. The rest is bf16, beside int8"
                    + " and int4 the head is int8.")
    private String weights = "bf16";

    @Option(names = "--batch", paramLabel = "B,..", split = ",", description = "Sequences side by side.")
    private List<Integer> batch = List.of(1);

    @Option(
            names = "--profile",
            description =
                    "Times every call of a kernel, too, and tells where a step's time goes: calls and time of each"
                            + " function, and what is outside of them, which is Java's work.")
    private boolean profile;

    List<Integer> batch(BenchOptions options) {
        return options.within("--batch", batch, 1, 1 << 16);
    }

    boolean profile() {
        return profile;
    }

    Slice slice(BenchOptions options) {
        try {
            var widths = Shape.of(shape);
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
            throw options.wrong(Reason.of(e));
        }
    }
}
