package org.panamoe.cli;

import java.io.IOException;
import java.nio.file.DirectoryNotEmptyException;
import java.nio.file.NotDirectoryException;
import java.nio.file.Path;
import java.util.Locale;
import java.util.Map;
import java.util.concurrent.Callable;
import org.panamoe.checkpoint.Checkpoint;
import org.panamoe.checkpoint.QuantizedFolder;
import org.panamoe.checkpoint.TensorSpec;
import org.panamoe.tensor.QuantFormat;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;
import picocli.CommandLine.ParameterException;
import picocli.CommandLine.Spec;
import tools.jackson.databind.node.JsonNodeFactory;

@Command(
        name = "quantize",
        sortOptions = false,
        header = "Writes a model with int8 or int4 projections, which is mapped and used as it lies there.",
        description =
                "%nCodes with one BF16 scale for each row and group of columns; a head that is no embedding gets int8 with"
                        + " either; the rest stays as it is. The"
                        + " folder gets one safetensors file, config.json with a quantization_config, and the model's"
                        + " other small files. Reported are the bits of a weight, its scales' among them, and the"
                        + " relative rms error of the weights.%n")
final class QuantizeCommand implements Callable<Integer> {
    @Mixin
    private final ModelOption model = new ModelOption();

    @Option(names = "--weights", paramLabel = "FORMAT", required = true, description = "int8 or int4.")
    @SuppressWarnings("NullAway.Init") // picocli sets it
    private WeightsOption.Format weights;

    @Option(
            names = "--output",
            paramLabel = "DIR",
            required = true,
            description = "A folder that is not there, or empty.")
    @SuppressWarnings("NullAway.Init") // picocli sets it
    private Path output;

    @Option(names = "--json", description = "One JSON object.")
    private boolean json;

    @Spec
    @SuppressWarnings("NullAway.Init") // picocli sets it
    private CommandSpec command;

    private final Console console;

    QuantizeCommand(Console console) {
        this.console = console;
    }

    @Override
    public Integer call() throws IOException {
        var format = weights.format();
        if (format == null) throw new ParameterException(command.commandLine(), "--weights stored: int8 or int4");
        var folder = model.folder();
        try (var checkpoint = Checkpoint.open(folder)) {
            long steps = TensorSpec.of(checkpoint.config()).stream()
                    .filter(spec -> checkpoint.has(spec.name()))
                    .count();
            try (var progress = new Progress(console, "quantize", steps)) {
                report(write(checkpoint, folder, format, progress));
            }
        }
        return 0;
    }

    private Map<TensorSpec.Kind, QuantizedFolder.Change> write(
            Checkpoint checkpoint, Path folder, QuantFormat format, Progress progress) throws IOException {
        int threads = Runtime.getRuntime().availableProcessors();
        try {
            return QuantizedFolder.write(checkpoint, folder, format, output, threads, _ -> progress.step());
        } catch (NotDirectoryException e) {
            throw new IllegalArgumentException("--output %s: is a file, not a folder".formatted(output), e);
        } catch (DirectoryNotEmptyException e) {
            String problem = QuantizedFolder.interrupted(output)
                    ? "another quantize is writing there, or was killed; if none is, delete the folder, then try again"
                    : "is there already, and not empty";
            throw new IllegalArgumentException("--output %s: %s".formatted(output, problem), e);
        }
    }

    private void report(Map<TensorSpec.Kind, QuantizedFolder.Change> changes) throws IOException {
        var object = JsonNodeFactory.instance.objectNode();
        var lines = new Lines();
        changes.forEach((kind, change) -> {
            String name = kind.name().toLowerCase(Locale.ROOT);
            var of = object.putObject(name);
            of.put("weights", change.weights());
            of.put("bytes", change.bytes());
            of.put("bits_per_weight", change.bitsPerWeight());
            of.put("relative_rms_error", change.relativeRms());
            lines.add(
                    name,
                    "%s weights in %s, %.2f bits each, relative rms error %.2g",
                    change.weights(),
                    Bytes.text((double) change.bytes()),
                    change.bitsPerWeight(),
                    change.relativeRms());
        });
        if (json) console.println(object);
        else console.print(lines.toString());
    }
}
