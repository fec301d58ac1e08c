package org.panamoe.cli;

import java.util.Locale;
import org.jspecify.annotations.Nullable;
import org.panamoe.bench.Machine;
import org.panamoe.checkpoint.Checkpoint;
import org.panamoe.checkpoint.TensorSpec;
import org.panamoe.tensor.QuantFormat;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;
import picocli.CommandLine.ParameterException;
import picocli.CommandLine.Spec;

/** The format that projections have when they are computed with, and when weights come into memory. */
final class WeightsOption {
    enum Format {
        stored,
        int8,
        int4;

        @Nullable
        QuantFormat format() {
            return switch (this) {
                case stored -> null;
                case int8 -> QuantFormat.INT8;
                case int4 -> QuantFormat.INT4;
            };
        }
    }

    @Option(
            names = "--weights",
            paramLabel = "FORMAT",
            description =
                    "Projections as they are stored, or made int8 or int4, with the head int8, when the model is loaded;"
                            + " of the cpu and reference back ends.")
    private Format weights = Format.stored;

    @Option(
            names = "--preload",
            description =
                    "Read all weights before the first step, instead of each when it is first used; of the cpu and"
                            + " reference back ends, since a device gets them all anyway.")
    private boolean preload;

    @Spec(Spec.Target.MIXEE)
    @SuppressWarnings("NullAway.Init") // picocli sets it
    private CommandSpec command;

    /** Refuses what the back end does not have, before anything is loaded. */
    void check(BackendOption backend) {
        if (backend.onHost()) return;
        if (weights != Format.stored) throw onlyOnHost("--weights " + weights, backend);
        if (preload) throw onlyOnHost("--preload", backend);
    }

    private ParameterException onlyOnHost(String option, BackendOption backend) {
        return new ParameterException(
                command.commandLine(),
                "%s is for the back ends cpu and reference, not for %s".formatted(option, backend));
    }

    /** The checkpoint itself, or a new one. */
    Checkpoint of(Checkpoint stored, Console console) {
        var format = weights.format();
        return format == null ? stored : quantized(stored, format, console);
    }

    /** Reads what is mapped, with a bar that shows how far it is, if that is wanted. */
    void preload(Checkpoint checkpoint, Console console) {
        if (!preload) return;
        Machine.read().available().ifPresent(available -> requireRoom(checkpoint.mappedBytes(), available));
        try (var progress = new Progress(console, "preload", checkpoint.mappedWeights())) {
            checkpoint.preload(Runtime.getRuntime().availableProcessors(), _ -> progress.step());
        }
    }

    /** Beyond that, each weight that is read would drive out another. */
    static void requireRoom(long bytes, long available) {
        require("--preload: the weights take", bytes, available);
    }

    /** Beyond that, the system would end the process. */
    static void requireRoom(QuantFormat format, long bytes, long available) {
        require("--weights %s: their copy takes".formatted(name(format)), bytes, available);
    }

    private static void require(String what, long bytes, long available) {
        if (bytes > available)
            throw new IllegalArgumentException("%s %s, %s of memory are available"
                    .formatted(what, Bytes.text((double) bytes), Bytes.text((double) available)));
    }

    private static String name(QuantFormat format) {
        return format.name().toLowerCase(Locale.ROOT);
    }

    /** With a bar that shows how far it is. */
    static Checkpoint quantized(Checkpoint stored, QuantFormat format, Console console) {
        long steps = 0, bytes = 0;
        for (var spec : TensorSpec.of(stored.config())) {
            var made = spec.quantized(format);
            if (made == null || !stored.has(spec.name())) continue;
            steps++;
            bytes += made.bytes(spec.shape().getFirst(), spec.shape().get(1));
        }
        var available = Machine.read().available();
        if (available.isPresent()) requireRoom(format, bytes, available.get());
        try (var progress = new Progress(console, name(format), steps)) {
            return stored.quantized(format, Runtime.getRuntime().availableProcessors(), _ -> progress.step());
        }
    }
}
