package org.panamoe.lab.routing;

import java.util.Optional;
import org.panamoe.backend.GroupLimitedTopK;

/**
 * Balancing by binary integer programming: the dual of "most score in all, every token K experts, every expert its equal
 * share" is solved a few steps further on each batch, before it is routed.
 *
 * <pre>
 *   repeat:  p_i = max(0, (K + 1)-th largest over j of s_ij - q_j)
 *            q_j = max(0, (K T / E + 1)-th largest over i of s_ij - p_i)
 *   TopK(s - q)
 * </pre>
 *
 * q is kept from batch to batch. It looks at the whole batch before it routes the first token: a causal model cannot do
 * this when it generates. Y. Sun 2025 (arXiv 2502.15451), algorithm 1.
 *
 * <p>Parameters: iterations (4).
 */
final class BipDual implements Balancer {
    private final GroupLimitedTopK rule;
    private final int iterations;
    private final float[] bias_E;
    private float[] price_T = new float[0];
    private float[] left = new float[0];

    BipDual(GroupLimitedTopK rule, Parameters parameters, Optional<float[]> recorded) {
        if (rule.chosen() == rule.experts()) throw parameters.wrong("all experts are chosen: there is no next best");
        this.rule = rule;
        iterations = parameters.integer("iterations", 4, 1);
        bias_E = new float[rule.experts()];
    }

    @Override
    public void route(Batch batch, Choices choices) {
        if (price_T.length < batch.T) price_T = new float[batch.T];
        if (left.length < Math.max(batch.T, rule.experts())) left = new float[Math.max(batch.T, rule.experts())];
        for (int i = 0; i < iterations; i++) {
            priceTokens(batch);
            priceExperts(batch);
        }
        choices.takeBest(batch, bias_E);
    }

    private void priceTokens(Batch batch) {
        int E = rule.experts();
        for (int t = 0; t < batch.T; t++) {
            for (int e = 0; e < E; e++) left[e] = batch.score_TE[t * E + e] + bias_E[e];
            price_T[t] = Math.max(0, Ranks.largest(left, E, rule.chosen()));
        }
    }

    /** The bias is -q. A batch of so few tokens that every expert may have them all has no price. */
    private void priceExperts(Batch batch) {
        int E = rule.experts();
        int share = Math.toIntExact((long) batch.T * rule.chosen() / E);
        for (int e = 0; e < E; e++) {
            for (int t = 0; t < batch.T; t++) left[t] = batch.score_TE[t * E + e] - price_T[t];
            bias_E[e] = share < batch.T ? -Math.max(0, Ranks.largest(left, batch.T, share)) : 0;
        }
    }

    @Override
    public float[] bias() {
        return bias_E.clone();
    }
}
