package org.panamoe.lab.routing;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.TreeMap;
import org.jspecify.annotations.Nullable;
import org.panamoe.backend.GroupLimitedTopK;
import org.panamoe.checkpoint.Safetensors;
import org.panamoe.tensor.DType;
import org.panamoe.tensor.Tensor;

/**
 * What {@code panamoe trace} writes: for each layer topk_idx (I32 [T, K]), topk_weight (F32 [T, K]), bias (F32 [E]) and,
 * with {@code --scores}, score (F16 [T, E]); a file may also have scores alone. The file is mapped, not read into memory.
 *
 * <p>Another order is an order of windows; a file that does not say how long its windows are is cut into 256 tokens.
 */
final class SafetensorsTrace implements Trace {
    private static final ValueLayout.OfShort F16 = ValueLayout.JAVA_SHORT_UNALIGNED;
    private static final ValueLayout.OfInt I32 = ValueLayout.JAVA_INT_UNALIGNED;
    private static final ValueLayout.OfFloat F32 = ValueLayout.JAVA_FLOAT_UNALIGNED;
    private static final int DEFAULT_WINDOW = 256;

    private final String name;
    private final Arena arena = Arena.ofShared();
    private final Safetensors file;
    private final TreeMap<Integer, Layer> layers = new TreeMap<>();
    private final GroupLimitedTopK rule;
    private int E;
    private int K;

    /** What a layer has; all tensors that are there have as many rows. */
    private static final class Layer {
        @Nullable
        Tensor score_TE, index_TK, weight_TK, bias_E;
        long rows = -1;
        int window;
    }

    SafetensorsTrace(Path path) {
        boolean opened = false;
        try {
            file = Safetensors.map(path, arena);
            name = file.file();
            for (String tensor : file.names()) take(tensor);
            layers.values().removeIf(layer -> layer.rows < 0); // a bias alone is no trace
            if (layers.isEmpty())
                throw wrong("no score.LAYER and no topk_idx.LAYER among %d tensors"
                        .formatted(file.names().size()));
            requireAlike(layer -> layer.score_TE != null, "score");
            requireAlike(layer -> layer.index_TK != null, "topk_idx");
            rule = rule(file.metadata());
            setWindows();
            opened = true;
        } finally {
            if (!opened) arena.close();
        }
    }

    private void take(String tensor) {
        int dot = tensor.lastIndexOf('.');
        String kind = dot < 0 ? tensor : tensor.substring(0, dot);
        switch (kind) {
            case "score" -> {
                var layer = layer(tensor, dot);
                layer.score_TE = checked(tensor, DType.F16, 2);
                E = same("experts", E, layer.score_TE.dim(1), tensor);
                countRows(layer, layer.score_TE, tensor);
            }
            case "topk_idx" -> {
                var layer = layer(tensor, dot);
                layer.index_TK = checked(tensor, DType.I32, 2);
                K = same("chosen experts", K, layer.index_TK.dim(1), tensor);
                countRows(layer, layer.index_TK, tensor);
            }
            case "topk_weight" -> {
                var layer = layer(tensor, dot);
                layer.weight_TK = checked(tensor, DType.F32, 2);
                K = same("chosen experts", K, layer.weight_TK.dim(1), tensor);
                countRows(layer, layer.weight_TK, tensor);
            }
            case "bias" -> {
                var layer = layer(tensor, dot);
                layer.bias_E = checked(tensor, DType.F32, 1);
                E = same("experts", E, layer.bias_E.dim(0), tensor);
            }
            default -> {} // token_ids, and what others may add
        }
    }

    private Layer layer(String tensor, int dot) {
        String number = tensor.substring(dot + 1);
        if (!number.matches("[0-9]{1,6}")) throw wrong(tensor + ": does not end with the number of a layer");
        return layers.computeIfAbsent(Integer.parseInt(number), n -> new Layer());
    }

    private Tensor checked(String name, DType dtype, int rank) {
        var tensor = file.tensor(name);
        if (tensor.dtype != dtype || tensor.rank() != rank)
            throw wrong("%s is %s, not %s with %d dimensions".formatted(name, tensor, dtype, rank));
        return tensor;
    }

    private int same(String what, int known, int here, String tensor) {
        if (here < 1 || (known > 0 && known != here))
            throw wrong("%s has %d %s, the tensors before it %d".formatted(tensor, here, what, known));
        return here;
    }

    private void countRows(Layer layer, Tensor tensor, String name) {
        long rows = tensor.dim(0);
        if (rows == 0 || (layer.rows >= 0 && layer.rows != rows))
            throw wrong("%s has %d tokens, the other tensors of its layer %d".formatted(name, rows, layer.rows));
        layer.rows = rows;
    }

    private void requireAlike(java.util.function.Predicate<Layer> has, String what) {
        long with = layers.values().stream().filter(has).count();
        if (with > 0 && with < layers.size())
            for (var entry : layers.entrySet())
                if (!has.test(entry.getValue()))
                    throw wrong("layer %d has no %s, other layers do".formatted(entry.getKey(), what));
    }

    private GroupLimitedTopK rule(Map<String, String> metadata) {
        int chosen = K > 0
                ? K
                : metadata.containsKey("K") ? number(metadata, "K", 0) : number(metadata, "experts_per_token", 0);
        if (chosen == 0) throw wrong("nothing says how many experts a token chooses: metadata has no K");
        if (E == 0) throw wrong("nothing says how many experts there are: there is no score and no bias");
        int groups = number(metadata, "n_group", 1);
        try {
            return Trace.rule(E, chosen, groups, number(metadata, "topk_group", groups));
        } catch (IllegalArgumentException e) {
            throw wrong(String.valueOf(e.getMessage()));
        }
    }

    private int number(Map<String, String> metadata, String key, int absent) {
        String value = metadata.getOrDefault(key, "" + absent);
        if (!value.matches("[0-9]{1,9}")) throw wrong("metadata %s is '%s', not a number".formatted(key, value));
        return Integer.parseInt(value);
    }

    /** The MTP module has one row less in each window. */
    private void setWindows() {
        int window = number(file.metadata(), "window", DEFAULT_WINDOW);
        if (window < 1) throw wrong("metadata window is 0");
        long most =
                layers.values().stream().mapToLong(layer -> layer.rows).max().orElseThrow();
        for (var layer : layers.values())
            layer.window = layer.rows < most && layer.rows == most - Math.ceilDiv(most, window) ? window - 1 : window;
    }

    @Override
    public String name() {
        return name;
    }

    @Override
    public GroupLimitedTopK rule() {
        return rule;
    }

    @Override
    public List<Integer> layers() {
        return new ArrayList<>(layers.keySet());
    }

    @Override
    public boolean hasScores() {
        return layers.firstEntry().getValue().score_TE != null;
    }

    @Override
    public boolean hasChoices() {
        return layers.firstEntry().getValue().index_TK != null;
    }

    @Override
    public Optional<float[]> bias(int layer) {
        var bias_E = known(layer).bias_E;
        if (bias_E == null) return Optional.empty();
        float[] values = new float[E];
        bias_E.getFloats(0, values);
        for (int e = 0; e < E; e++)
            if (!Float.isFinite(values[e])) throw wrong("bias.%d, expert %d: is %s".formatted(layer, e, values[e]));
        return Optional.of(values);
    }

    @Override
    public Reader read(int layer, long seed) {
        return new LayerReader(layer, known(layer), seed);
    }

    @Override
    public void close() {
        arena.close();
    }

    private Layer known(int layer) {
        var known = layers.get(layer);
        if (known == null) throw wrong("there is no layer %d among %s".formatted(layer, layers.keySet()));
        return known;
    }

    private IllegalArgumentException wrong(String problem) {
        return new IllegalArgumentException(name + ": " + problem);
    }

    private final class LayerReader implements Reader {
        private final int number;
        private final Layer layer;
        private final int[] windows;
        private final int[] seen_E = new int[E];
        private int stamp;
        /** The next token: in which place of the order, and how far into its window. */
        private int at, within;

        LayerReader(int number, Layer layer, long seed) {
            this.number = number;
            this.layer = layer;
            windows = Shuffle.order(Math.toIntExact(Math.ceilDiv(layer.rows, layer.window)), seed);
        }

        @Override
        public boolean next(Batch batch) {
            batch.T = 0;
            batch.window = layer.window;
            while (at < windows.length && batch.T < batch.capacity()) {
                long from = (long) windows[at] * layer.window + within;
                long end = Math.min((windows[at] + 1L) * layer.window, layer.rows);
                int count = (int) Math.min(end - from, batch.capacity() - batch.T);
                if (batch.wantsScores()) readScores(batch, from, count);
                else readChoices(batch, from, count);
                batch.T += count;
                within += count;
                if (from + count == end) {
                    at++;
                    within = 0;
                }
            }
            return batch.T > 0;
        }

        private void readScores(Batch batch, long from, int count) {
            var tensor = layer.score_TE;
            if (tensor == null) throw wrong("there are no scores");
            MemorySegment data = tensor.data;
            float[] score_TE = batch.score_TE;
            long source = from * E;
            int target = batch.T * E;
            for (int i = 0; i < count * E; i++) {
                float score = Float.float16ToFloat(data.getAtIndex(F16, source + i));
                if (!(score >= 0 && score <= 1))
                    throw wrong("score.%d, token %d, expert %d: is %s, not between 0 and 1"
                            .formatted(number, from + i / E, i % E, score));
                score_TE[target + i] = score;
            }
        }

        private void readChoices(Batch batch, long from, int count) {
            var tensor = layer.index_TK;
            if (tensor == null) throw wrong("there are no choices");
            int[] expert_TK = batch.expert_TK;
            int target = batch.T * K;
            MemorySegment.copy(tensor.data, I32, from * K * Integer.BYTES, expert_TK, target, count * K);
            for (int t = 0; t < count; t++) {
                stamp++;
                for (int k = 0; k < K; k++) {
                    int e = expert_TK[target + t * K + k];
                    if (e < 0 || e >= E)
                        throw wrong("topk_idx.%d, token %d: expert %d of %d".formatted(number, from + t, e, E));
                    if (seen_E[e] == stamp)
                        throw wrong("topk_idx.%d, token %d: expert %d twice".formatted(number, from + t, e));
                    seen_E[e] = stamp;
                }
            }
            if (layer.weight_TK != null) checkWeights(layer.weight_TK.data, from, count);
        }

        private void checkWeights(MemorySegment weights, long from, int count) {
            for (long i = from * K; i < (from + count) * K; i++) {
                float weight = weights.getAtIndex(F32, i);
                if (!Float.isFinite(weight))
                    throw wrong("topk_weight.%d, token %d, choice %d: is %s".formatted(number, i / K, i % K, weight));
            }
        }
    }
}
