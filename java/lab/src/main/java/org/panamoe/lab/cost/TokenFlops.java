package org.panamoe.lab.cost;

import org.panamoe.checkpoint.ModelConfig;

/**
 * Floating point operations of one token: two for each weight of a matrix product that it passes, and causal attention,
 * in which a token sees half the context on average. The embedding is a look-up. What is computed again to save memory is
 * not counted.
 */
public final class TokenFlops {
    /** The backward pass is two products for each of the forward pass. */
    public static final int TRAINING = 3;

    private TokenFlops() {}

    /** Weights of the main model's matrix products that one token passes: K of E experts, the head, no embedding. */
    public static double activeWeights(ModelConfig c) {
        double sum = (double) c.hiddenSize() * c.vocabSize();
        for (int layer = 0; layer < c.numHiddenLayers(); layer++) sum += layerWeights(c, layer);
        return sum;
    }

    /** The same of its MTP modules: a layer each, the projection of two states, the head once more. */
    public static double mtpWeights(ModelConfig c) {
        double h = c.hiddenSize();
        return c.numNextnPredictLayers() * (layerWeights(c, c.numHiddenLayers()) + 2 * h * h + h * c.vocabSize());
    }

    /** Operations of attention itself in one layer, the mean over a context: 2 H (P + R + U) S / 2. */
    public static double attention(ModelConfig c, double context) {
        return 2.0 * c.numAttentionHeads() * (c.qkNopeHeadDim() + c.qkRopeHeadDim() + c.vHeadDim()) * context / 2;
    }

    /** Operations of the forward pass. */
    public static double forward(ModelConfig c, double context, boolean mtp) {
        double weights = activeWeights(c) + (mtp ? mtpWeights(c) : 0);
        int layers = c.numHiddenLayers() + (mtp ? c.numNextnPredictLayers() : 0);
        return 2 * weights + layers * attention(c, context);
    }

    private static double layerWeights(ModelConfig c, int layer) {
        double h = c.hiddenSize(),
                heads = c.numAttentionHeads(),
                queries = heads * (c.qkNopeHeadDim() + c.qkRopeHeadDim());
        double query = c.qLoraRank() == 0 ? h * queries : (h + queries) * c.qLoraRank();
        double latent = h * (c.kvLoraRank() + c.qkRopeHeadDim());
        double keys = c.kvLoraRank() * heads * (c.qkNopeHeadDim() + c.vHeadDim());
        double output = heads * c.vHeadDim() * h;
        double ffn = c.isMoe(layer)
                ? 3 * h * c.moeIntermediateSize() * (c.numExpertsPerTok() + c.nSharedExperts()) + h * c.nRoutedExperts()
                : 3 * h * c.intermediateSize();
        return query + latent + keys + output + ffn;
    }
}
