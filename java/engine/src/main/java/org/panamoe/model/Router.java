package org.panamoe.model;

import org.panamoe.backend.GroupLimitedTopK;
import org.panamoe.backend.Scoring;
import org.panamoe.checkpoint.ModelConfig;

/**
 * Chooses K of E experts for one token. V3 (noaux_tc): sigmoid scores, limited to the best groups, corrected by a learnt
 * bias (DeepSeek-V3 report, section 2.1.2). V2 (greedy, group_limited_greedy): softmax scores, no bias. One
 * caller at a time.
 */
public final class Router {
    final Scoring scoring;
    final GroupLimitedTopK rule;
    private final float[] bias_E;
    private final GroupLimitedTopK.Room room;

    /** @param bias_E e_score_correction_bias; zeros where the model has none */
    public Router(ModelConfig config, float[] bias_E) {
        if (bias_E.length != config.nRoutedExperts())
            throw new IllegalArgumentException(
                    "%d biases, n_routed_experts %d".formatted(bias_E.length, config.nRoutedExperts()));
        this.bias_E = bias_E.clone();
        boolean v3 = config.topkMethod() == ModelConfig.TopkMethod.NOAUX_TC;
        scoring = v3 ? Scoring.SIGMOID : Scoring.SOFTMAX;
        rule = new GroupLimitedTopK(
                config.nRoutedExperts(),
                config.numExpertsPerTok(),
                config.nGroup(),
                config.topkGroup(),
                v3 ? 2 : 1,
                config.normTopkProb(),
                config.routedScalingFactor());
        room = new GroupLimitedTopK.Room(rule);
    }

    /** The correction bias. */
    public float[] bias() {
        return bias_E.clone();
    }

    /** Turns what the gate says into scores, in place: sigmoid (V3) or softmax over all experts (V2). */
    public void score(float[] logit_E) {
        scoring.score(logit_E);
    }

    /**
     * The bias says who is chosen, never how much it counts: shares come from the scores alone.
     *
     * @param score_E gate scores, see {@link #score}
     * @param expert_K filled with the chosen experts, best first; the lower id wins a tie, among groups too
     * @param share_K filled with their shares; with norm_topk_prob these add up to routed_scaling_factor
     */
    public void route(float[] score_E, int[] expert_K, float[] share_K) {
        rule.choose(score_E, bias_E, expert_K, share_K, room);
    }
}
