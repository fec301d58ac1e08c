package org.panamoe.checkpoint;

import java.io.File;
import java.io.IOException;
import java.lang.foreign.Arena;
import java.nio.file.DirectoryNotEmptyException;
import java.nio.file.Files;
import java.nio.file.LinkOption;
import java.nio.file.NotDirectoryException;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.EnumMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.concurrent.Callable;
import java.util.function.Consumer;
import org.panamoe.checkpoint.TensorSpec.Kind;
import org.panamoe.tensor.QuantFormat;
import org.panamoe.tensor.Weight;
import tools.jackson.databind.json.JsonMapper;
import tools.jackson.databind.node.ObjectNode;

/**
 * Writes a checkpoint whose projections and head are integers ({@link TensorSpec#quantized}): codes under the weight's name (I8, or U8 with two codes a byte), scales
 * as BF16 under its name with {@code _scale}. One weight at a time is in memory. The rest is copied as it is; config.json
 * gets a quantization_config. All is written to a folder within the target and moved up when it is complete, config.json
 * last: without it the target is no model.
 */
public final class QuantizedFolder {
    /**
     * What became of all projections of a kind.
     *
     * @param weights how many
     * @param bytes codes and scales
     * @param error sum of the squared differences to what was stored before
     * @param square sum of its squares
     */
    public record Change(long weights, long bytes, double error, double square) {
        Change plus(Change other) {
            return new Change(weights + other.weights, bytes + other.bytes, error + other.error, square + other.square);
        }

        public double bitsPerWeight() {
            return 8.0 * bytes / weights;
        }

        /** Root of the mean squared difference by that of the mean square. */
        public double relativeRms() {
            return square == 0 ? 0 : Math.sqrt(error / square);
        }
    }

    private static final String CONFIG = "config.json";
    /** How the name of the folder begins in which all is written. */
    private static final String PART = ".quantize";

    private static final List<String> COPIED = List.of(".json", ".jinja", ".txt", ".md", ".model");

    private final Checkpoint from;
    private final QuantFormat format;
    private final Workers workers;

    private QuantizedFolder(Checkpoint from, QuantFormat format, Workers workers) {
        this.from = from;
        this.format = format;
        this.workers = workers;
    }

    /**
     * @param from the open checkpoint of {@code source}
     * @param folder is made; must not be there, or be empty. It is so again after a failure, or when the JVM is told to
     *     end, by Ctrl-C say
     * @param done is told of each weight that is written
     * @return by kind
     * @throws NotDirectoryException if the folder is a file
     * @throws DirectoryNotEmptyException if it holds something; {@link #interrupted} tells whether that is another write's
     * @throws IOException that names the file
     * @throws CheckpointException if projections are integers already, or one of them holds a NaN or an infinity
     */
    public static Map<Kind, Change> write(
            Checkpoint from, Path source, QuantFormat format, Path folder, int threads, Consumer<String> done)
            throws IOException {
        if (from.config().quantizationConfig() instanceof ModelConfig.Integers there)
            throw new CheckpointException(
                    CONFIG, "quantization_config: the weights are %s already".formatted(there.format()));
        if (Files.exists(folder, LinkOption.NOFOLLOW_LINKS) && !Files.isDirectory(folder))
            throw new NotDirectoryException(folder.toString());
        boolean made = !Files.exists(folder);
        Files.createDirectories(folder);
        requireEmpty(folder, folder);
        // For Ctrl-C. The last is deleted first; a folder that holds something stays.
        if (made) folder.toFile().deleteOnExit();
        Path part = Files.createTempDirectory(folder, PART);
        part.toFile().deleteOnExit();
        try {
            requireEmpty(folder, part); // of two that began together, the second sees the first one's
            Map<Kind, Change> changes;
            try (var workers = new Workers(threads)) {
                changes = new QuantizedFolder(from, format, workers).weights(file(part, "model.safetensors"), done);
            }
            copyOthers(source, part);
            writeConfig(source, file(part, CONFIG), format);
            moveUp(part, folder);
            return changes;
        } finally {
            // What cannot be deleted stays: the failure that brought us here is the one to tell.
            for (File left : Objects.requireNonNullElse(part.toFile().listFiles(), new File[0])) left.delete();
            part.toFile().delete();
            if (made) folder.toFile().delete();
        }
    }

    private static void requireEmpty(Path folder, Path but) throws IOException {
        try (var entries = Files.list(folder)) {
            if (entries.anyMatch(entry -> !entry.equals(but))) throw new DirectoryNotEmptyException(folder.toString());
        }
    }

    /**
     * Whether another {@link #write} is at work in the folder, or a JVM was killed while it wrote: then nothing in it is of
     * use.
     */
    public static boolean interrupted(Path folder) throws IOException {
        try (var entries = Files.list(folder)) {
            return entries.anyMatch(entry -> Json.fileName(entry).startsWith(PART));
        }
    }

    private static Path file(Path part, String name) {
        var file = part.resolve(name);
        file.toFile().deleteOnExit();
        return file;
    }

    private static void writeConfig(Path source, Path file, QuantFormat format) throws IOException {
        var mapper = JsonMapper.shared();
        if (!(mapper.readTree(Files.readAllBytes(source.resolve(CONFIG))) instanceof ObjectNode config))
            throw new CheckpointException(CONFIG, "not a JSON object");
        var quantization = config.putObject("quantization_config");
        quantization.put("quant_method", "panamoe");
        quantization.put("bits", new ModelConfig.Integers(format).bits());
        quantization.put("group_size", format.block);
        Files.writeString(file, mapper.writerWithDefaultPrettyPrinter().writeValueAsString(config) + "\n");
    }

    private static void moveUp(Path part, Path folder) throws IOException {
        try (var files = Files.list(part)) {
            for (var file : files.sorted(
                            Comparator.comparing(file -> Json.fileName(file).equals(CONFIG)))
                    .toList()) Files.move(file, folder.resolve(file.getFileName()), StandardCopyOption.ATOMIC_MOVE);
        }
    }

    private Map<Kind, Change> weights(Path file, Consumer<String> done) throws IOException {
        var specs = TensorSpec.of(from.config()).stream()
                .filter(spec -> from.has(spec.name()))
                .toList();
        var plan = new SafetensorsWriter.Plan().metadata("format", "pt");
        for (var spec : specs) {
            var weight = from.weight(spec.name());
            var to = spec.quantized(format);
            if (to != null) {
                int F = weight.data().dim(0), D = weight.columns();
                plan.add(spec.name(), to.stored, F, to.elements(D));
                plan.add(
                        spec.name() + Checkpoint.scale(to),
                        to.scales,
                        Math.ceilDiv(F, to.blockRows),
                        Math.ceilDiv(D, to.block));
            } else plan.add(spec.name(), weight.data().dtype, Checkpoint.shape(weight.data()));
        }
        var changes = new EnumMap<Kind, Change>(Kind.class);
        try (var writer = SafetensorsWriter.create(file, plan)) {
            for (var spec : specs) {
                var weight = from.weight(spec.name());
                var to = spec.quantized(format);
                if (to != null) changes.merge(spec.kind(), quantize(writer, spec.name(), weight, to), Change::plus);
                else writer.write(spec.name(), weight.data());
                done.accept(spec.name());
            }
            writer.commit();
        }
        return changes;
    }

    private Change quantize(SafetensorsWriter writer, String name, Weight weight, QuantFormat format)
            throws IOException {
        try (var arena = Arena.ofShared()) {
            int F = weight.data().dim(0), each = Math.ceilDiv(F, workers.threads);
            var to = Weight.allocate(arena, format, F, weight.columns());
            var pieces = new ArrayList<Callable<Change>>();
            for (int f = 0; f < F; f += each) {
                int first = f, end = Math.min(F, f + each);
                pieces.add(() -> rows(name, weight, to, first, end));
            }
            var change = new Change(0, to.bytes(), 0, 0);
            for (var part : workers.all(pieces)) change = change.plus(part);
            writer.write(name, to.data());
            writer.write(name + Checkpoint.scale(format), Objects.requireNonNull(to.scale()));
            return change;
        }
    }

    private static Change rows(String name, Weight weight, Weight to, int from, int end) {
        Checkpoint.quantize(name, "checkpoint", weight, to, from, end);
        int D = weight.columns();
        float[] before = new float[D], after = new float[D];
        double error = 0, square = 0;
        for (int f = from; f < end; f++) {
            weight.decode(f, before);
            to.decode(f, after);
            for (int d = 0; d < D; d++) {
                double miss = (double) after[d] - before[d];
                error += miss * miss;
                square += (double) before[d] * before[d];
            }
        }
        return new Change((long) (end - from) * D, 0, error, square);
    }

    private static void copyOthers(Path source, Path part) throws IOException {
        try (var entries = Files.list(source)) {
            for (var file : entries.filter(Files::isRegularFile).toList()) {
                String name = Json.fileName(file);
                boolean copied = name.startsWith("LICENSE") || COPIED.stream().anyMatch(name::endsWith);
                if (copied && !name.equals(CONFIG) && !name.endsWith(".safetensors.index.json"))
                    Files.copy(file, file(part, name));
            }
        }
    }
}
