package org.panamoe.bench;

import java.util.Arrays;
import java.util.List;
import java.util.Locale;
import org.jspecify.annotations.Nullable;
import org.panamoe.backend.GroupLimitedTopK;
import org.panamoe.backend.Scoring;
import org.panamoe.checkpoint.ModelConfig;
import org.panamoe.checkpoint.ModelConfig.Quantization;
import org.panamoe.checkpoint.ModelConfig.TopkMethod;
import org.panamoe.checkpoint.TensorSpec;

/** A published model's widths: those of its config.json. How many layers, experts and tokens there are is the slice's. */
public enum Shape {
    /** DeepSeek-V3 and R1. */
    V3,
    /** DeepSeek-V2-Lite. */
    V2_LITE,
    /** Kimi K2. */
    KIMI_K2;

    /** "v3", "v2-lite", "kimi-k2". */
    @Override
    public String toString() {
        return name().toLowerCase(Locale.ROOT).replace('_', '-');
    }

    /** @throws IllegalArgumentException naming those that there are */
    public static Shape of(String name) {
        return Arrays.stream(values())
                .filter(shape -> shape.toString().equals(name.toLowerCase(Locale.ROOT)))
                .findFirst()
                .orElseThrow(() ->
                        new IllegalArgumentException("shape %s: there are v3, v2-lite and kimi-k2".formatted(name)));
    }

    ModelConfig config(int layers, int dense, int experts, int vocab, @Nullable Quantization quantized) {
        return switch (this) {
            case V3 -> v3("deepseek_v3", layers, dense, experts, vocab, 128, 8, 4, 2.5f, quantized);
            case KIMI_K2 -> v3("kimi_k2", layers, dense, experts, vocab, 64, 1, 1, 2.827f, quantized);
            case V2_LITE ->
                new ModelConfig(
                        "deepseek_v2",
                        vocab,
                        2048, // hidden_size
                        layers,
                        0, // num_nextn_predict_layers
                        dense,
                        1, // moe_layer_freq
                        10944, // intermediate_size
                        1408, // moe_intermediate_size
                        experts,
                        2, // n_shared_experts
                        6, // num_experts_per_tok
                        1, // n_group
                        1, // topk_group
                        TopkMethod.GREEDY,
                        false, // norm_topk_prob
                        1, // routed_scaling_factor
                        16, // num_attention_heads
                        0, // q_lora_rank: none
                        512, // kv_lora_rank
                        128, // qk_nope_head_dim
                        64, // qk_rope_head_dim
                        128, // v_head_dim
                        1e-6f, // rms_norm_eps
                        10000, // rope_theta
                        null, // rope_scaling
                        163840, // max_position_embeddings
                        false, // tie_word_embeddings
                        0, // bos_token_id
                        List.of(1), // eos_token_id
                        quantized);
        };
    }

    /** Of each layer of the published model. */
    public int experts() {
        return switch (this) {
            case V3 -> 256;
            case V2_LITE -> 64;
            case KIMI_K2 -> 384;
        };
    }

    /** Of a slice that says nothing else: enough that its head counts as it does in the whole model. */
    public int vocab() {
        return switch (this) {
            case V3, KIMI_K2 -> 32768;
            case V2_LITE -> 102400;
        };
    }

    /** One layer of each kind: without experts, and with all that the published model has. */
    public ModelConfig config() {
        return config(2, 1, experts(), vocab(), null);
    }

    /**
     * Rows and columns of a matrix of the model.
     *
     * @param name the end of its name in the checkpoint, without {@code .weight}: "o_proj", "shared_experts.gate_proj"
     */
    public List<Integer> matrix(String name) {
        return TensorSpec.of(config()).stream()
                .filter(spec -> ("." + spec.name()).endsWith("." + name + ".weight"))
                .findFirst()
                .map(TensorSpec::shape)
                .orElseThrow(() -> new IllegalArgumentException("%s has no %s".formatted(this, name)));
    }

    /** How its gate's scores are made. */
    public Scoring scoring() {
        return biased() ? Scoring.SIGMOID : Scoring.SOFTMAX;
    }

    /** How its experts are chosen. */
    public GroupLimitedTopK rule() {
        var c = config();
        return new GroupLimitedTopK(
                c.nRoutedExperts(),
                c.numExpertsPerTok(),
                c.nGroup(),
                c.topkGroup(),
                biased() ? 2 : 1,
                c.normTopkProb(),
                c.routedScalingFactor());
    }

    private boolean biased() {
        return config().topkMethod() == TopkMethod.NOAUX_TC;
    }

    private static ModelConfig v3(
            String type,
            int layers,
            int dense,
            int experts,
            int vocab,
            int heads,
            int groups,
            int keptGroups,
            float scaling,
            @Nullable Quantization quantized) {
        return new ModelConfig(
                type,
                vocab,
                7168, // hidden_size
                layers,
                0, // num_nextn_predict_layers
                dense,
                1, // moe_layer_freq
                18432, // intermediate_size
                2048, // moe_intermediate_size
                experts,
                1, // n_shared_experts
                8, // num_experts_per_tok
                groups,
                keptGroups,
                TopkMethod.NOAUX_TC,
                true, // norm_topk_prob
                scaling,
                heads,
                1536, // q_lora_rank
                512, // kv_lora_rank
                128, // qk_nope_head_dim
                64, // qk_rope_head_dim
                128, // v_head_dim
                1e-6f, // rms_norm_eps
                10000, // rope_theta
                null, // rope_scaling
                163840, // max_position_embeddings
                false, // tie_word_embeddings
                0, // bos_token_id
                List.of(1), // eos_token_id
                quantized);
    }
}
