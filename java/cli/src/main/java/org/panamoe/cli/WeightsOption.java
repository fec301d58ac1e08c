package org.panamoe.cli;

import java.util.Locale;
import org.jspecify.annotations.Nullable;
import org.panamoe.checkpoint.Checkpoint;
import org.panamoe.checkpoint.TensorSpec;
import org.panamoe.tensor.QuantFormat;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;
import picocli.CommandLine.ParameterException;
import picocli.CommandLine.Spec;

/** The format that projections have when they are computed with. */
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
                    "Projections as they are stored, or made int8 or int4 when the model is loaded; of the cpu and"
                            + " reference back ends.")
    private Format weights = Format.stored;

    @Spec(Spec.Target.MIXEE)
    @SuppressWarnings("NullAway.Init") // picocli sets it
    private CommandSpec command;

    /** Refuses what the back end does not have, before anything is loaded. */
    void check(BackendOption backend) {
        if (weights != Format.stored && !backend.onHost())
            throw new ParameterException(
                    command.commandLine(),
                    "--weights %s is for the back ends cpu and reference, not for %s".formatted(weights, backend));
    }

    /** The checkpoint itself, or a new one. */
    Checkpoint of(Checkpoint stored, Console console) {
        var format = weights.format();
        return format == null ? stored : quantized(stored, format, console);
    }

    /** With a bar that shows how far it is. */
    static Checkpoint quantized(Checkpoint stored, QuantFormat format, Console console) {
        long steps = TensorSpec.of(stored.config()).stream()
                .filter(spec -> spec.projection() && stored.has(spec.name()))
                .count();
        try (var progress = new Progress(console, format.name().toLowerCase(Locale.ROOT), steps)) {
            return stored.quantized(format, Runtime.getRuntime().availableProcessors(), _ -> progress.step());
        }
    }
}
