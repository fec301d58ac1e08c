package org.panamoe.checkpoint;

import java.lang.foreign.Arena;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.regex.Pattern;
import org.jspecify.annotations.Nullable;
import org.panamoe.checkpoint.TensorSpec.Kind;
import org.panamoe.tensor.Tensor;
import org.panamoe.tensor.Weight;

/**
 * A published checkpoint: config.json and the safetensors files beside it, mapped and used where they lie.
 *
 * <p>Opening checks that every tensor the config asks for is there with its shape and a type that Panamoe reads, and that
 * no layer, nor embedding, last norm or head, has a tensor the config knows nothing of. Data is read when it is used;
 * of the data only block scales are checked, when their weight is asked for.
 *
 * <p>Closing unmaps everything: from then on every tensor of this checkpoint throws. Close it last, and let nobody shorten
 * its files while it is open.
 */
public final class Checkpoint implements AutoCloseable {
    /** Behind the name of a weight, the name of its block scales. */
    static final String SCALE = "_scale_inv";

    private static final Pattern LAYER = Pattern.compile("model\\.layers\\.([0-9]{1,4})\\..*");
    private static final Pattern OUTSIDE_LAYERS = Pattern.compile("(lm_head|model\\.norm|model\\.embed_tokens)\\..*");
    private static final Pattern EXPERT = Pattern.compile("\\.experts\\.[0-9]+\\.");

    private final ModelConfig config;
    private final Map<String, Stored> weights;
    private final @Nullable Arena arena;
    private int holds;

    private record Stored(Weight weight, String file) {}

    private Checkpoint(ModelConfig config, Map<String, Stored> weights, @Nullable Arena arena) {
        this.config = config;
        this.weights = weights;
        this.arena = arena;
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
                weights.put(spec.name(), new Stored(shards.weight(spec.name(), shape(spec)), file));
            }
            refuseUnknown(shards, config, weights);
            return checked(new Checkpoint(config, weights, arena), specs);
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
        return checked(new Checkpoint(config, stored, null), specs);
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
        Tensor data = stored.weight.data();
        if (shape.length > 0 && !Arrays.equals(shape(data), shape))
            throw new CheckpointException(
                    stored.file, "%s: is %s, not %s".formatted(name, data, Arrays.toString(shape)));
        if (stored.weight.scale() != null) checkScales(stored.file, name, stored.weight.scale());
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
        if (!Arrays.equals(shape(weight.data()), shape(spec)))
            throw new CheckpointException(
                    stored.file, "%s: is %s, the config asks for %s".formatted(spec.name(), weight, spec.shape()));
        if (!weight.format().scaled()) return;
        if (config.quantizationConfig() == null)
            throw new CheckpointException(
                    stored.file,
                    "%s: is %s, but config.json has no quantization_config".formatted(spec.name(), weight));
        if (!spec.fp8())
            throw new CheckpointException(
                    stored.file, "%s: is %s, but only projections may be FP8".formatted(spec.name(), weight));
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
            Stored of = name.endsWith(SCALE) ? weights.get(name.substring(0, name.length() - SCALE.length())) : null;
            if (of != null && of.weight.scale() != null) continue;
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

    private static void checkScales(String file, String name, Tensor scale) {
        for (long i = 0, n = scale.size(); i < n; i++) {
            float value = scale.getFloat(i);
            if (!(value >= 0 && value < Float.POSITIVE_INFINITY))
                throw new CheckpointException(
                        file,
                        "%s%s: element %d of %s is %s, not a finite number >= 0"
                                .formatted(name, SCALE, i, scale, value));
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

    private static long[] shape(TensorSpec spec) {
        return spec.shape().stream().mapToLong(Integer::longValue).toArray();
    }
}
