package org.panamoe.model;

import java.util.Arrays;
import org.panamoe.checkpoint.ModelConfig;

/**
 * Chooses K of E experts for one token. V3 (noaux_tc): sigmoid scores, limited to the best groups, corrected by a learnt
 * bias (DeepSeek-V3 report, section 2.1.2). V2 (greedy, group_limited_greedy): softmax scores, no bias.
 */
public final class Router {
    private final ModelConfig config;
    private final float[] bias_E;
    private final float[] biased_E;
    private final float[] worth_G;

    /** @param bias_E e_score_correction_bias; zeros where the model has none */
    public Router(ModelConfig config, float[] bias_E) {
        if (bias_E.length != config.nRoutedExperts())
            throw new IllegalArgumentException(
                    "%d biases, n_routed_experts %d".formatted(bias_E.length, config.nRoutedExperts()));
        this.config = config;
        this.bias_E = bias_E.clone();
        biased_E = new float[bias_E.length];
        worth_G = new float[config.nGroup()];
    }

    /** The correction bias. */
    public float[] bias() {
        return bias_E.clone();
    }

    /** Turns what the gate says into scores, in place: sigmoid (V3) or softmax over all experts (V2). */
    public void score(float[] logit_E) {
        switch (config.topkMethod()) {
            case NOAUX_TC -> {
                for (int e = 0; e < logit_E.length; e++) logit_E[e] = (float) (1 / (1 + Math.exp(-logit_E[e])));
            }
            case GREEDY, GROUP_LIMITED_GREEDY -> {
                float max = logit_E[argmax(logit_E, 0, logit_E.length)];
                double sum = 0;
                for (float logit : logit_E) sum += Math.exp(logit - max);
                for (int e = 0; e < logit_E.length; e++) logit_E[e] = (float) (Math.exp(logit_E[e] - max) / sum);
            }
        }
    }

    /**
     * The bias says who is chosen, never how much it counts: shares come from the scores alone.
     *
     * @param score_E gate scores, see {@link #score}
     * @param expert_K filled with the chosen experts, best first; the lower id wins a tie, among groups too
     * @param share_K filled with their shares; with norm_topk_prob these add up to routed_scaling_factor
     */
    public void route(float[] score_E, int[] expert_K, float[] share_K) {
        for (int e = 0; e < score_E.length; e++) biased_E[e] = score_E[e] + bias_E[e];
        closeAllButBestGroups();
        float sum = 0;
        for (int k = 0; k < expert_K.length; k++) {
            int best = argmax(biased_E, 0, biased_E.length);
            biased_E[best] = Float.NEGATIVE_INFINITY;
            expert_K[k] = best;
            sum += score_E[best];
        }
        float norm = config.normTopkProb() ? sum + 1e-20f : 1;
        for (int k = 0; k < expert_K.length; k++)
            share_K[k] = score_E[expert_K[k]] / norm * config.routedScalingFactor();
    }

    private void closeAllButBestGroups() {
        if (config.topkGroup() == config.nGroup()) return;
        int size = biased_E.length / config.nGroup();
        for (int g = 0; g < worth_G.length; g++) worth_G[g] = worth(g * size, (g + 1) * size);
        for (int closed = 0; closed < config.nGroup() - config.topkGroup(); closed++) {
            int worst = 0;
            for (int g = 1; g < worth_G.length; g++) if (worth_G[g] <= worth_G[worst]) worst = g;
            worth_G[worst] = Float.POSITIVE_INFINITY;
            // Not 0, as DeepSeek's first code had it: biased scores may be negative.
            Arrays.fill(biased_E, worst * size, (worst + 1) * size, Float.NEGATIVE_INFINITY);
        }
    }

    /** V3: a group is as good as its two best experts together. V2: as its best. */
    private float worth(int from, int to) {
        int first = argmax(biased_E, from, to);
        float best = biased_E[first];
        return switch (config.topkMethod()) {
            case NOAUX_TC -> {
                biased_E[first] = Float.NEGATIVE_INFINITY;
                float second = biased_E[argmax(biased_E, from, to)];
                biased_E[first] = best;
                yield best + second;
            }
            case GREEDY, GROUP_LIMITED_GREEDY -> best;
        };
    }

    private static int argmax(float[] values, int from, int to) {
        int best = from;
        for (int i = from + 1; i < to; i++) if (values[i] > values[best]) best = i;
        return best;
    }
}
