package org.panamoe.checkpoint;

import java.nio.file.Path;
import java.util.List;
import java.util.Locale;
import org.jspecify.annotations.Nullable;
import org.panamoe.tensor.QuantFormat;

/**
 * config.json of a DeepSeek-V2 or V3 model. Every component is one key of that file in camelCase, and means what it
 * means there. Whoever holds a config holds a sound one: sizes fit together, and products of two fit an int where a
 * tensor needs them to.
 *
 * @param modelType deepseek_v2, deepseek_v3 or kimi_k2 (whose config follows V3's rules)
 * @param numHiddenLayers without the MTP modules, which are stored as further layers
 * @param numNextnPredictLayers MTP modules; 0 where absent
 * @param firstKDenseReplace layers before this one have a dense feed-forward part
 * @param nRoutedExperts 0 where all layers are dense
 * @param nGroup 1 where experts are not grouped
 * @param qLoraRank 0 where queries are projected directly (q_proj)
 * @param ropeScaling null for plain rope
 * @param bosTokenId -1 where absent
 * @param eosTokenId each of these ends a generation; config.json's, then those that generation_config.json adds
 * @param quantizationConfig null where no weight is quantised
 */
public record ModelConfig(
        String modelType,
        int vocabSize,
        int hiddenSize,
        int numHiddenLayers,
        int numNextnPredictLayers,
        int firstKDenseReplace,
        int moeLayerFreq,
        int intermediateSize,
        int moeIntermediateSize,
        int nRoutedExperts,
        int nSharedExperts,
        int numExpertsPerTok,
        int nGroup,
        int topkGroup,
        TopkMethod topkMethod,
        boolean normTopkProb,
        float routedScalingFactor,
        int numAttentionHeads,
        int qLoraRank,
        int kvLoraRank,
        int qkNopeHeadDim,
        int qkRopeHeadDim,
        int vHeadDim,
        float rmsNormEps,
        float ropeTheta,
        @Nullable Yarn ropeScaling,
        int maxPositionEmbeddings,
        boolean tieWordEmbeddings,
        int bosTokenId,
        List<Integer> eosTokenId,
        @Nullable Quantization quantizationConfig) {

    /** Far above every model; with these no size of a tensor and no sum over all tensors passes a long. */
    private static final int MAX_WIDTH = 1 << 24, MAX_EXPERTS = 1 << 18;

    /** How experts are chosen. V3: sigmoid scores, noaux_tc. V2: softmax scores, one of the other two. */
    public enum TopkMethod {
        GREEDY,
        GROUP_LIMITED_GREEDY,
        NOAUX_TC
    }

    /** rope_scaling of type yarn. {@code mscaleAllDim} is 0 where absent, {@code mscale} 1. */
    public record Yarn(
            float factor,
            int originalMaxPositionEmbeddings,
            float betaFast,
            float betaSlow,
            float mscale,
            float mscaleAllDim) {
        public Yarn {
            check(factor >= 1 && Float.isFinite(factor), "rope_scaling.factor", factor, "is below 1");
            range("rope_scaling.original_max_position_embeddings", originalMaxPositionEmbeddings, 1, Integer.MAX_VALUE);
            check(betaSlow > 0, "rope_scaling.beta_slow", betaSlow, "is not above 0");
            check(
                    betaFast >= betaSlow && Float.isFinite(betaFast),
                    "rope_scaling.beta_fast",
                    betaFast,
                    "is below beta_slow " + betaSlow);
            check(mscale >= 0 && Float.isFinite(mscale), "rope_scaling.mscale", mscale, "is below 0");
            check(
                    mscaleAllDim >= 0 && Float.isFinite(mscaleAllDim),
                    "rope_scaling.mscale_all_dim",
                    mscaleAllDim,
                    "is below 0");
        }
    }

    /** quantization_config: how projections are stored. */
    public sealed interface Quantization {
        QuantFormat format();
    }

    /**
     * quantization_config with quant_method fp8, fmt e4m3 and blocks of 128 x 128.
     *
     * @param scaleFmt ue8m0 where scales of activations are powers of two; empty where absent
     */
    public record Fp8(String scaleFmt) implements Quantization {
        @Override
        public QuantFormat format() {
            return QuantFormat.F8_E4M3_B128;
        }
    }

    /** quantization_config with quant_method panamoe: integers with one scale for each row and group of columns. */
    public record Integers(QuantFormat format) implements Quantization {
        public Integers {
            if (!format.integer()) throw new IllegalArgumentException(format + " has no integer codes");
        }

        /** Of a code. */
        public int bits() {
            return 8 * format.stored.bytes / format.packed;
        }
    }

    /** @throws IllegalArgumentException naming the key of config.json */
    public ModelConfig {
        eosTokenId = List.copyOf(eosTokenId);
        boolean known = List.of("deepseek_v2", "deepseek_v3", "kimi_k2").contains(modelType);
        check(known, "model_type", modelType, "is none of deepseek_v2, deepseek_v3, kimi_k2");
        range("vocab_size", vocabSize, 1, MAX_WIDTH);
        range("hidden_size", hiddenSize, 1, 1 << 20);
        range("num_hidden_layers", numHiddenLayers, 1, 1 << 12);
        range("num_nextn_predict_layers", numNextnPredictLayers, 0, 1); // more were never published
        range("first_k_dense_replace", firstKDenseReplace, 0, numHiddenLayers);
        range("moe_layer_freq", moeLayerFreq, 1, 1 << 12);
        range("intermediate_size", intermediateSize, 1, 1 << 20);
        range("num_attention_heads", numAttentionHeads, 1, 1 << 14);
        range("q_lora_rank", qLoraRank, 0, 1 << 20);
        range("kv_lora_rank", kvLoraRank, 1, 1 << 20);
        range("qk_nope_head_dim", qkNopeHeadDim, 1, 1 << 14);
        range("qk_rope_head_dim", qkRopeHeadDim, 2, 1 << 14);
        range("v_head_dim", vHeadDim, 1, 1 << 14);
        check(qkRopeHeadDim % 2 == 0, "qk_rope_head_dim", qkRopeHeadDim, "is odd, but rope turns pairs");
        range("max_position_embeddings", maxPositionEmbeddings, 1, Integer.MAX_VALUE);
        check(rmsNormEps > 0 && rmsNormEps < 1, "rms_norm_eps", rmsNormEps, "is not above 0 and below 1");
        // YaRN divides by its logarithm.
        check(ropeTheta > 1 && Float.isFinite(ropeTheta), "rope_theta", ropeTheta, "is not above 1");
        range("bos_token_id", bosTokenId, -1, vocabSize - 1);
        for (int id : eosTokenId) range("eos_token_id", id, 0, vocabSize - 1);
        width(
                "num_attention_heads * (qk_nope_head_dim + qk_rope_head_dim)",
                numAttentionHeads,
                qkNopeHeadDim + qkRopeHeadDim);
        width("num_attention_heads * (qk_nope_head_dim + v_head_dim)", numAttentionHeads, qkNopeHeadDim + vHeadDim);

        range("n_routed_experts", nRoutedExperts, 0, 1 << 16);
        // A dense model may leave these out, or say what it does not use.
        int least = nRoutedExperts > 0 ? 1 : 0;
        range("n_shared_experts", nSharedExperts, least, 1 << 10);
        range("moe_intermediate_size", moeIntermediateSize, least, 1 << 20);
        width("n_shared_experts * moe_intermediate_size", nSharedExperts, moeIntermediateSize);
        range("num_experts_per_tok", numExpertsPerTok, least, nRoutedExperts > 0 ? nRoutedExperts : 1 << 16);
        if (nRoutedExperts > 0) {
            check(
                    routedScalingFactor > 0 && Float.isFinite(routedScalingFactor),
                    "routed_scaling_factor",
                    routedScalingFactor,
                    "is not above 0");
            long experts = (long) (numHiddenLayers + numNextnPredictLayers) * nRoutedExperts;
            check(experts <= MAX_EXPERTS, "n_routed_experts", nRoutedExperts, "times the layers is " + experts);
            boolean v2 = modelType.equals("deepseek_v2");
            // DeepSeek's V2 code and Hugging Face's disagree on what this would mean; no release has it.
            check(!v2 || !normTopkProb, "norm_topk_prob", normTopkProb, "is not defined for deepseek_v2");
            String method = topkMethod.name().toLowerCase(Locale.ROOT);
            check(v2 == (topkMethod != TopkMethod.NOAUX_TC), "topk_method", method, "does not exist in " + modelType);
            range("n_group", nGroup, 1, nRoutedExperts);
            int inGroup = nRoutedExperts / nGroup;
            check(
                    nRoutedExperts % nGroup == 0,
                    "n_group",
                    nGroup,
                    "does not divide n_routed_experts " + nRoutedExperts);
            check(
                    topkMethod != TopkMethod.GREEDY || nGroup == 1,
                    "n_group",
                    nGroup,
                    "with topk_method greedy, which knows no groups");
            check(
                    topkMethod != TopkMethod.NOAUX_TC || nGroup == 1 || inGroup >= 2,
                    "n_group",
                    nGroup,
                    "leaves one expert in a group, but noaux_tc scores a group by its best two");
            range("topk_group", topkGroup, 1, nGroup);
            check(
                    numExpertsPerTok <= topkGroup * inGroup,
                    "num_experts_per_tok",
                    numExpertsPerTok,
                    "is above the %d experts of topk_group %d groups".formatted(topkGroup * inGroup, topkGroup));
        }
    }

    /**
     * @param path a folder with config.json (generation_config.json beside it may add end tokens), or one such file
     * @throws CheckpointException naming file, field and value where the config is broken, of another family, or asks for
     *     something that is not implemented
     */
    public static ModelConfig parse(Path path) {
        return ConfigReader.read(path);
    }

    /** The main model alone. */
    ModelConfig withoutMtp() {
        return with(0, quantizationConfig);
    }

    /** The same model with projections in another format. */
    ModelConfig quantized(Quantization quantization) {
        return with(numNextnPredictLayers, quantization);
    }

    private ModelConfig with(int mtpLayers, @Nullable Quantization quantization) {
        return new ModelConfig(
                modelType,
                vocabSize,
                hiddenSize,
                numHiddenLayers,
                mtpLayers,
                firstKDenseReplace,
                moeLayerFreq,
                intermediateSize,
                moeIntermediateSize,
                nRoutedExperts,
                nSharedExperts,
                numExpertsPerTok,
                nGroup,
                topkGroup,
                topkMethod,
                normTopkProb,
                routedScalingFactor,
                numAttentionHeads,
                qLoraRank,
                kvLoraRank,
                qkNopeHeadDim,
                qkRopeHeadDim,
                vHeadDim,
                rmsNormEps,
                ropeTheta,
                ropeScaling,
                maxPositionEmbeddings,
                tieWordEmbeddings,
                bosTokenId,
                eosTokenId,
                quantization);
    }

    /** Whether layer i (MTP layers included) has experts. */
    public boolean isMoe(int layer) {
        return nRoutedExperts > 0
                && (layer >= numHiddenLayers || (layer >= firstKDenseReplace && layer % moeLayerFreq == 0));
    }

    private static void range(String key, long value, long min, long max) {
        check(min <= value && value <= max, key, value, "is not in [%d, %d]".formatted(min, max));
    }

    private static void width(String key, long a, long b) {
        range(key, a * b, 0, MAX_WIDTH);
    }

    private static void check(boolean right, String key, Object value, String problem) {
        if (!right) throw new IllegalArgumentException(key + ": " + value + " " + problem);
    }
}
