package org.panamoe.checkpoint;

import java.lang.foreign.Arena;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.concurrent.Callable;
import java.util.function.Consumer;
import java.util.regex.Pattern;
import org.jspecify.annotations.Nullable;
import org.panamoe.checkpoint.TensorSpec.Kind;
import org.panamoe.tensor.QuantFormat;
import org.panamoe.tensor.Quantizer;
import org.panamoe.tensor.Tensor;
import org.panamoe.tensor.Weight;

/**
 * A published checkpoint: config.json and the safetensors files beside it, mapped and used where they lie.
 *
 * <p>Opening checks that every tensor the config asks for is there with its shape and a type that Panamoe reads, and that
 * no layer, nor embedding, last norm or head, has a tensor the config knows nothing of. Data is read when it is used;
 * of the data only FP8's block scales are checked, when their weight is asked for.
 *
 * <p>Closing unmaps everything: from then on every tensor of this checkpoint throws. Close it last, and let nobody shorten
 * its files while it is open.
 */
public final class Checkpoint implements AutoCloseable {
    /** Behind the name of a weight, the name of its scales. */
    private static final String FP8_SCALE = "_scale_inv", INTEGER_SCALE = "_scale";

    private static final Pattern LAYER = Pattern.compile("model\\.layers\\.([0-9]{1,4})\\..*");
    private static final Pattern OUTSIDE_LAYERS = Pattern.compile("(lm_head|model\\.norm|model\\.embed_tokens)\\..*");
    private static final Pattern EXPERT = Pattern.compile("\\.experts\\.[0-9]+\\.");

    private final ModelConfig config;
    private final Map<String, Stored> weights;
    private final @Nullable Arena arena;
    private final @Nullable Hold source; // what the other weights lie in
    private int holds;

    private record Stored(Weight weight, String file) {}

    private Checkpoint(ModelConfig config, Map<String, Stored> weights, @Nullable Arena arena, @Nullable Hold source) {
        this.config = config;
        this.weights = weights;
        this.arena = arena;
        this.source = source;
    }

    /** @throws CheckpointException naming the file and the field or tensor that is wrong */
    @SuppressWarnings("MustBeClosed") // the arena: close() does it
    public static Checkpoint open(Path folder) {
        if (Files.exists(folder) && !Files.isDirectory(folder))
            throw new CheckpointException(folder.toString(), "is not a folder");
        var config = ModelConfig.parse(folder);
        var arena = Arena.ofShared();
        try {
            var shards = new Shards(folder, arena);
            String mtp = "model.layers." + config.numHiddenLayers() + ".";
            if (shards.fileOf.keySet().stream().noneMatch(name -> name.startsWith(mtp))) config = config.withoutMtp();
            var specs = TensorSpec.of(config);
            requireAll(shards.list, specs, shards.fileOf.keySet());
            var weights = new HashMap<String, Stored>();
            for (TensorSpec spec : specs) {
                String file = shards.fileOf.get(spec.name());
                if (file == null) continue;
                var integers = config.quantizationConfig() instanceof ModelConfig.Integers q
                        ? spec.quantized(q.format())
                        : null;
                weights.put(spec.name(), new Stored(shards.weight(spec.name(), shape(spec), integers), file));
            }
            refuseUnknown(shards, config, weights);
            return checked(new Checkpoint(config, weights, arena, null), specs);
        } catch (Throwable e) {
            arena.close();
            throw e;
        }
    }

    /** Weights that the caller made and owns, under the names that {@link TensorSpec#of} lists. */
    public static Checkpoint of(ModelConfig config, Map<String, Weight> weights) {
        var specs = TensorSpec.of(config);
        requireAll("memory", specs, weights.keySet());
        var stored = new HashMap<String, Stored>();
        weights.forEach((name, weight) -> stored.put(name, new Stored(weight, "memory")));
        return checked(new Checkpoint(config, stored, null, null), specs);
    }

    /**
     * The same model with every projection in an integer format, and a head of its own in INT8, made now: with scales that
     * {@link Quantizer} chooses. The rest stays where this checkpoint has it, which cannot be closed before the new one.
     *
     * @param threads that share the work
     * @param done is told, by any of them, of each weight that is made
     * @throws CheckpointException if projections are integers already, or one of them holds a NaN or an infinity
     */
    @SuppressWarnings("MustBeClosed") // the arena: close() does it
    public Checkpoint quantized(QuantFormat format, int threads, Consumer<String> done) {
        if (config.quantizationConfig() instanceof ModelConfig.Integers there)
            throw new CheckpointException(
                    "config.json", "quantization_config: the weights are %s already".formatted(there.format()));
        var specs = TensorSpec.of(config);
        var hold = hold();
        var arena = Arena.ofShared();
        try (var workers = new Workers(threads)) {
            var all = new HashMap<String, Stored>(weights);
            var pieces = new ArrayList<Callable<String>>();
            for (var spec : specs) {
                var stored = weights.get(spec.name());
                var made = spec.quantized(format);
                if (made == null || stored == null) continue;
                var from = weight(spec.name()); // checks its scales
                var to = Weight.allocate(arena, made, from.data().dim(0), from.columns());
                all.put(spec.name(), new Stored(to, stored.file));
                pieces.add(() -> {
                    quantize(spec.name(), stored.file, from, to, 0, from.data().dim(0));
                    done.accept(spec.name());
                    return spec.name();
                });
            }
            workers.all(pieces);
            return checked(new Checkpoint(config.quantized(new ModelConfig.Integers(format)), all, arena, hold), specs);
        } catch (RuntimeException | Error e) {
            hold.close();
            arena.close();
            throw e;
        }
    }

    /** Bytes that {@link #preload} reads: those of weights that lie in mapped files. */
    public long mappedBytes() {
        return weights.values().stream()
                .filter(stored -> stored.weight.data().data.isMapped())
                .mapToLong(stored -> stored.weight.bytes())
                .sum();
    }

    /** Number of weights that {@link #preload} reads. */
    public int mappedWeights() {
        return (int) weights.values().stream()
                .filter(stored -> stored.weight.data().data.isMapped())
                .count();
    }

    /**
     * Reads all mapped weights, so that no step waits for a page of them, as long as there is memory for all.
     *
     * @param threads that share the work
     * @param done is told, by any of them, of each weight that was read
     */
    public void preload(int threads, Consumer<String> done) {
        try (var hold = hold();
                var workers = new Workers(threads)) {
            var pieces = new ArrayList<Callable<Hold>>();
            weights.forEach((name, stored) -> {
                if (!stored.weight.data().data.isMapped()) return;
                pieces.add(() -> {
                    Mapped.load(stored.weight.data().data);
                    if (stored.weight.scale() != null) Mapped.load(stored.weight.scale().data);
                    done.accept(name);
                    return hold;
                });
            });
            workers.all(pieces);
        }
    }

    /** Rows [f, end) of a weight, whose name the error has. */
    static void quantize(String name, String file, Weight from, Weight to, int f, int end) {
        try {
            Quantizer.quantize(from, to, f, end);
        } catch (IllegalArgumentException e) {
            throw new CheckpointException(file, name + ": " + e.getMessage(), e);
        }
    }

    /**
     * config.json; but numNextnPredictLayers is 0 where the files hold nothing of an MTP module. Hugging Face's tools leave
     * the module out when they write a checkpoint, and keep the key.
     */
    public ModelConfig config() {
        return config;
    }

    public boolean has(String name) {
        return weights.containsKey(name);
    }

    /**
     * A weight by its verbatim name: "model.layers.3.self_attn.kv_b_proj.weight".
     *
     * @param shape what the caller relies on; may be left out, since the config's shape was checked already
     * @throws CheckpointException if there is none, its shape is another, or a block's scale is not a finite number >= 0
     */
    public Weight weight(String name, long... shape) {
        Stored stored = weights.get(name);
        if (stored == null) throw new CheckpointException("checkpoint", name + ": no such tensor");
        if (shape.length > 0 && !Arrays.equals(shape(stored.weight), shape))
            throw new CheckpointException(
                    stored.file, "%s: is %s, not %s".formatted(name, stored.weight, Arrays.toString(shape)));
        // Of integers there is one for each few weights: reading them all would read a large part of the model.
        if (stored.weight.scale() != null && !stored.weight.format().integer())
            checkScales(stored.file, name + scale(stored.weight.format()), stored.weight.scale());
        return stored.weight;
    }

    /** A weight that is not quantised, as it lies there: F32 or BF16. */
    public Tensor tensor(String name, long... shape) {
        Weight weight = weight(name, shape);
        if (weight.scale() != null)
            throw new CheckpointException("checkpoint", "%s: %s has block scales".formatted(name, weight));
        return weight.data();
    }

    /** Bytes of one weight, scales included, as it is stored; 0 where there is none. */
    public long bytes(String name) {
        Stored stored = weights.get(name);
        return stored == null ? 0 : stored.weight.bytes();
    }

    /** Bytes of all weights, scales included, as they are stored. */
    public long bytes() {
        return weights.values().stream().mapToLong(s -> s.weight.bytes()).sum();
    }

    /** Keeps the checkpoint open until the hold is closed: native code may be reading it at any time. */
    public synchronized Hold hold() {
        if (arena != null && !arena.scope().isAlive()) throw new IllegalStateException("the checkpoint is closed");
        holds++;
        return new Hold();
    }

    /** See {@link #hold}. */
    public final class Hold implements AutoCloseable {
        private boolean released;

        private Hold() {}

        @Override
        public void close() {
            synchronized (Checkpoint.this) {
                if (!released) holds--;
                released = true;
            }
        }
    }

    /**
     * Does nothing for weights of the caller, and nothing the second time.
     *
     * @throws IllegalStateException if a model still uses this checkpoint; then nothing is closed
     */
    @Override
    public synchronized void close() {
        if (arena == null || !arena.scope().isAlive()) return;
        if (holds > 0) throw new IllegalStateException("close: a model still uses this checkpoint");
        arena.close();
        if (source != null) source.close();
    }

    private static Checkpoint checked(Checkpoint checkpoint, List<TensorSpec> specs) {
        record First(String name, Weight weight) {}
        var firsts = new HashMap<String, First>(); // by name, without the expert's number
        for (TensorSpec spec : specs) {
            Stored stored = checkpoint.weights.get(spec.name());
            if (stored == null) continue;
            checkpoint.checkFormat(spec, stored);
            if (spec.kind() != Kind.ROUTED_EXPERT) continue;
            // One matrix of all experts of a layer goes into one product, whose weights have one format.
            var first = firsts.computeIfAbsent(
                    EXPERT.matcher(spec.name()).replaceFirst("."), matrix -> new First(spec.name(), stored.weight));
            if (stored.weight.format() != first.weight.format())
                throw new CheckpointException(
                        stored.file,
                        "%s: is %s, but %s is %s".formatted(spec.name(), stored.weight, first.name, first.weight));
        }
        return checkpoint;
    }

    private void checkFormat(TensorSpec spec, Stored stored) {
        Weight weight = stored.weight;
        if (!Arrays.equals(shape(weight), shape(spec)))
            throw new CheckpointException(
                    stored.file, "%s: is %s, the config asks for %s".formatted(spec.name(), weight, spec.shape()));
        if (!weight.format().scaled()) return;
        var quantization = config.quantizationConfig();
        if (quantization == null)
            throw new CheckpointException(
                    stored.file,
                    "%s: is %s, but config.json has no quantization_config".formatted(spec.name(), weight));
        var quantized = spec.quantized(quantization.format());
        if (quantized == null)
            throw new CheckpointException(
                    stored.file,
                    "%s: is %s, but beside projections in %s it is not quantised"
                            .formatted(spec.name(), weight, quantization.format()));
        if (quantized != weight.format())
            throw new CheckpointException(
                    stored.file, "%s: is %s, but config.json says %s".formatted(spec.name(), weight, quantized));
    }

    /** A tensor of a layer, embedding, last norm or head that the config does not ask for belongs to another model. */
    private static void refuseUnknown(Shards shards, ModelConfig config, Map<String, Stored> weights) {
        int layers = config.numHiddenLayers() + config.numNextnPredictLayers();
        for (String name : shards.fileOf.keySet()) {
            if (weights.containsKey(name)) continue;
            if (!partOfModel(name, layers, shards)) continue;
            // Some copies of tied models store their embedding a second time.
            if (config.tieWordEmbeddings() && name.equals("lm_head.weight")) continue;
            // Rope's table, written by old versions: a function of the config.
            if (name.endsWith(".rotary_emb.inv_freq")) continue;
            Stored of = weights.get(withoutScale(name));
            if (of != null && of.weight.scale() != null && name.endsWith(scale(of.weight.format()))) continue;
            throw new CheckpointException(
                    shards.list,
                    of == null
                            ? name + ": a tensor that this config does not ask for"
                            : "%s: scales of a weight that is %s".formatted(name, of.weight));
        }
    }

    /** What may be left aside are MTP modules beyond those of the config, and what is no part of the language model. */
    private static boolean partOfModel(String name, int layers, Shards shards) {
        var layer = LAYER.matcher(name);
        if (!layer.matches()) return OUTSIDE_LAYERS.matcher(name).matches();
        int index = Integer.parseInt(layer.group(1));
        return index < layers || !shards.fileOf.containsKey("model.layers." + index + ".eh_proj.weight");
    }

    /** What follows a weight's name in that of its scales. */
    static String scale(QuantFormat format) {
        return format.integer() ? INTEGER_SCALE : FP8_SCALE;
    }

    private static String withoutScale(String name) {
        for (var end : List.of(FP8_SCALE, INTEGER_SCALE))
            if (name.endsWith(end)) return name.substring(0, name.length() - end.length());
        return "";
    }

    private static void checkScales(String file, String name, Tensor scale) {
        for (long i = 0, n = scale.size(); i < n; i++) {
            float value = scale.getFloat(i);
            if (!(value >= 0 && value < Float.POSITIVE_INFINITY))
                throw new CheckpointException(
                        file, "%s: element %d of %s is %s, not a finite number >= 0".formatted(name, i, scale, value));
        }
    }

    /** One error for all that is missing, with the first of them. */
    private static void requireAll(String where, List<TensorSpec> specs, Set<String> present) {
        var required = specs.stream().filter(spec -> !spec.optional()).toList();
        var missing =
                required.stream().filter(spec -> !present.contains(spec.name())).toList();
        if (!missing.isEmpty())
            throw new CheckpointException(
                    where,
                    "%s: missing, the first of %d missing tensors (%d are required)"
                            .formatted(missing.getFirst(), missing.size(), required.size()));
    }

    static long[] shape(Tensor tensor) {
        long[] shape = new long[tensor.rank()];
        for (int i = 0; i < shape.length; i++) shape[i] = tensor.dim(i);
        return shape;
    }

    private static long[] shape(Weight weight) {
        long[] shape = shape(weight.data());
        if (shape.length > 0) shape[shape.length - 1] = weight.columns();
        return shape;
    }

    private static long[] shape(TensorSpec spec) {
        return spec.shape().stream().mapToLong(Integer::longValue).toArray();
    }
}
