package org.panamoe.cli;

import java.lang.foreign.Arena;
import java.lang.foreign.ValueLayout;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.TreeMap;
import org.jspecify.annotations.Nullable;
import org.panamoe.checkpoint.ModelConfig;
import org.panamoe.model.Observer;
import org.panamoe.tensor.DType;
import org.panamoe.tensor.Tensor;

/** Keeps every routing decision of a run. */
final class RoutingTrace implements Observer {
    private final int E;
    private final int K;
    private final TreeMap<Integer, Layer> layers = new TreeMap<>();

    /** The rows of one layer, in the order they were computed. */
    private static final class Layer {
        final Tensor index_TK;
        final Tensor weight_TK;
        final @Nullable Tensor score_TE;
        int rows;

        Layer(Tensor index_TK, Tensor weight_TK, @Nullable Tensor score_TE) {
            this.index_TK = index_TK;
            this.weight_TK = weight_TK;
            this.score_TE = score_TE;
        }
    }

    /**
     * @param rows that each layer of the main model will see
     * @param mtpRows that the MTP module will see
     * @param scores whether to keep the scores of all experts too
     */
    RoutingTrace(Arena arena, ModelConfig config, int rows, int mtpRows, boolean scores) {
        E = config.nRoutedExperts();
        K = config.numExpertsPerTok();
        for (int layer = 0; layer < config.numHiddenLayers() + Math.min(config.numNextnPredictLayers(), 1); layer++) {
            if (!config.isMoe(layer)) continue;
            int T = layer < config.numHiddenLayers() ? rows : mtpRows;
            layers.put(
                    layer,
                    new Layer(
                            Tensor.allocate(arena, DType.I32, T, K),
                            Tensor.allocate(arena, DType.F32, T, K),
                            scores ? Tensor.allocate(arena, DType.F16, T, E) : null));
        }
    }

    @Override
    public void routed(int layer, int T, float[] score_TE, int[] expert_TK, float[] share_TK) {
        var seen = layers.get(layer);
        if (seen == null) throw new AssertionError("layer " + layer + " has no experts");
        seen.index_TK.setInts((long) seen.rows * K, expert_TK, 0, T * K);
        seen.weight_TK.setFloats((long) seen.rows * K, share_TK, 0, T * K);
        if (seen.score_TE != null)
            for (int i = 0; i < T * E; i++)
                seen.score_TE.data.setAtIndex(
                        ValueLayout.JAVA_SHORT, (long) seen.rows * E + i, Float.floatToFloat16(score_TE[i]));
        seen.rows += T;
    }

    /** The layers with experts, ascending. */
    Iterable<Integer> layers() {
        return layers.keySet();
    }

    /** topk_idx, topk_weight and, if kept, score of each layer. */
    Map<String, Tensor> tensors() {
        var tensors = new LinkedHashMap<String, Tensor>();
        layers.forEach((layer, seen) -> {
            tensors.put("topk_idx." + layer, seen.index_TK);
            tensors.put("topk_weight." + layer, seen.weight_TK);
            if (seen.score_TE != null) tensors.put("score." + layer, seen.score_TE);
        });
        return tensors;
    }
}
