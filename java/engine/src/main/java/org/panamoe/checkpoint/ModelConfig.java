package org.panamoe.checkpoint;

import java.util.List;
import org.jspecify.annotations.Nullable;

/**
 * config.json of a DeepSeek-V2 or V3 model. Every component is one key of that file in camelCase, and means what it
 * means there.
 *
 * @param modelType deepseek_v2, deepseek_v3 or kimi_k2 (whose config follows V3's rules)
 * @param numHiddenLayers without the MTP modules, which are stored as further layers
 * @param numNextnPredictLayers MTP modules; 0 where absent
 * @param firstKDenseReplace layers before this one have a dense feed-forward part
 * @param nRoutedExperts 0 where all layers are dense
 * @param nGroup 1 where experts are not grouped
 * @param qLoraRank 0 where queries are projected directly (q_proj)
 * @param ropeScaling null for plain rope
 * @param eosTokenId each of these ends a generation
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
        @Nullable Fp8 quantizationConfig) {

    /** How experts are chosen. V3: sigmoid scores, noaux_tc. V2: softmax scores, one of the other two. */
    public enum TopkMethod {
        GREEDY,
        GROUP_LIMITED_GREEDY,
        NOAUX_TC
    }

    /** rope_scaling of type yarn. {@code mscaleAllDim} is 0 where absent. */
    public record Yarn(
            float factor,
            int originalMaxPositionEmbeddings,
            float betaFast,
            float betaSlow,
            float mscale,
            float mscaleAllDim) {}

    /** quantization_config with quant_method fp8, fmt e4m3 and blocks of 128 x 128. */
    public record Fp8(String scaleFmt) {}

    /** Whether layer i (MTP layers included) has experts. */
    public boolean isMoe(int layer) {
        return nRoutedExperts > 0
                && (layer >= numHiddenLayers || (layer >= firstKDenseReplace && layer % moeLayerFreq == 0));
    }
}
