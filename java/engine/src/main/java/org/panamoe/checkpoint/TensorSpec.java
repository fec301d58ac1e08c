package org.panamoe.checkpoint;

import java.util.ArrayList;
import java.util.List;
import org.jspecify.annotations.Nullable;
import org.panamoe.tensor.QuantFormat;

/**
 * A tensor that a config asks for, by its name in the checkpoint.
 *
 * @param layer -1 for embedding, last norm and head
 * @param mtp whether it belongs to an MTP module
 * @param projection whether it is a matrix of a layer that published quantised checkpoints quantise
 * @param optional whether it may be absent: an MTP module's copies of embedding and head
 */
public record TensorSpec(
        String name, List<Integer> shape, Kind kind, int layer, boolean mtp, boolean projection, boolean optional) {
    public enum Kind {
        EMBEDDING,
        HEAD,
        NORM,
        ATTENTION,
        DENSE_FFN,
        ROUTER,
        ROUTED_EXPERT,
        SHARED_EXPERT,
        /** eh_proj, which joins a token's embedding and the hidden state before it. */
        MTP
    }

    public long size() {
        long size = 1;
        for (int n : shape) size *= n;
        return size;
    }

    /**
     * What a quantised checkpoint stores it in: projections in {@code format}; beside integers also the main model's head,
     * in INT8, because its errors are the logits' own; null: not quantised.
     */
    public @Nullable QuantFormat quantized(QuantFormat format) {
        if (projection) return format;
        return kind == Kind.HEAD && !mtp && format.integer() ? QuantFormat.INT8 : null;
    }

    /** "model.norm.weight [7168]", for messages. */
    @Override
    public String toString() {
        return name + " " + shape;
    }

    /** All tensors of the model, layer by layer. */
    public static List<TensorSpec> of(ModelConfig config) {
        return new Inventory(config).list();
    }

    private static final class Inventory {
        private final ModelConfig c;
        private final List<TensorSpec> specs = new ArrayList<>();
        private int layer = -1;

        Inventory(ModelConfig config) {
            c = config;
        }

        List<TensorSpec> list() {
            int V = c.vocabSize(), D = c.hiddenSize(), L = c.numHiddenLayers();
            plain("model.embed_tokens.weight", Kind.EMBEDDING, V, D);
            for (int i = 0; i < L; i++) decoder(i);
            layer = -1;
            norm("model.norm.weight", D);
            if (!c.tieWordEmbeddings()) plain("lm_head.weight", Kind.HEAD, V, D);
            for (int i = L; i < L + c.numNextnPredictLayers(); i++) {
                String p = decoder(i);
                norm(p + "enorm.weight", D);
                norm(p + "hnorm.weight", D);
                plain(p + "eh_proj.weight", Kind.MTP, D, 2 * D);
                norm(p + "shared_head.norm.weight", D);
                copy(p + "embed_tokens.weight", Kind.EMBEDDING, V, D);
                copy(p + "shared_head.head.weight", Kind.HEAD, V, D);
            }
            return List.copyOf(specs);
        }

        private String decoder(int i) {
            layer = i;
            String p = "model.layers." + i + ".";
            norm(p + "input_layernorm.weight", c.hiddenSize());
            attention(p + "self_attn.");
            norm(p + "post_attention_layernorm.weight", c.hiddenSize());
            if (!c.isMoe(i)) {
                feedForward(p + "mlp.", Kind.DENSE_FFN, c.intermediateSize());
                return p;
            }
            plain(p + "mlp.gate.weight", Kind.ROUTER, c.nRoutedExperts(), c.hiddenSize());
            if (c.topkMethod() == ModelConfig.TopkMethod.NOAUX_TC)
                plain(p + "mlp.gate.e_score_correction_bias", Kind.ROUTER, c.nRoutedExperts());
            for (int e = 0; e < c.nRoutedExperts(); e++)
                feedForward(p + "mlp.experts." + e + ".", Kind.ROUTED_EXPERT, c.moeIntermediateSize());
            feedForward(p + "mlp.shared_experts.", Kind.SHARED_EXPERT, c.nSharedExperts() * c.moeIntermediateSize());
            return p;
        }

        private void attention(String p) {
            int D = c.hiddenSize(), H = c.numAttentionHeads(), Q = c.qLoraRank(), C = c.kvLoraRank();
            int P = c.qkNopeHeadDim(), R = c.qkRopeHeadDim(), U = c.vHeadDim();
            if (Q == 0) projection(p + "q_proj.weight", Kind.ATTENTION, H * (P + R), D);
            else {
                projection(p + "q_a_proj.weight", Kind.ATTENTION, Q, D);
                norm(p + "q_a_layernorm.weight", Q);
                projection(p + "q_b_proj.weight", Kind.ATTENTION, H * (P + R), Q);
            }
            projection(p + "kv_a_proj_with_mqa.weight", Kind.ATTENTION, C + R, D);
            norm(p + "kv_a_layernorm.weight", C);
            projection(p + "kv_b_proj.weight", Kind.ATTENTION, H * (P + U), C);
            projection(p + "o_proj.weight", Kind.ATTENTION, D, H * U);
        }

        private void feedForward(String p, Kind kind, int F) {
            projection(p + "gate_proj.weight", kind, F, c.hiddenSize());
            projection(p + "up_proj.weight", kind, F, c.hiddenSize());
            projection(p + "down_proj.weight", kind, c.hiddenSize(), F);
        }

        private void norm(String name, int size) {
            plain(name, Kind.NORM, size);
        }

        private void projection(String name, Kind kind, int rows, int columns) {
            add(name, kind, true, false, rows, columns);
        }

        private void plain(String name, Kind kind, Integer... shape) {
            add(name, kind, false, false, shape);
        }

        private void copy(String name, Kind kind, Integer... shape) {
            add(name, kind, false, true, shape);
        }

        private void add(String name, Kind kind, boolean projection, boolean optional, Integer... shape) {
            boolean mtp = layer >= c.numHiddenLayers();
            specs.add(new TensorSpec(name, List.of(shape), kind, layer, mtp, projection, optional));
        }
    }
}
