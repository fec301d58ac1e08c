package org.panamoe.lab.routing;

import java.util.Optional;
import org.panamoe.backend.GroupLimitedTopK;

/**
 * Capacity with dropping: each token takes its K best, and of those that an expert has too many it computes
 *
 * <pre>  C = ceil(K T / E * factor)</pre>
 *
 * the others are dropped: those that come last, or those with the lowest scores. Fedus et al. 2021 (arXiv 2101.03961),
 * section 2.2; dropping by score as in Megatron-LM ({@code moe-token-drop-policy probs}). Equal scores: the earlier token.
 *
 * <p>Parameters: factor (1.25), drop (position or score).
 */
final class Capacity implements Balancer {
    private final GroupLimitedTopK rule;
    private final double factor;
    private final boolean byScore;
    private final Choices wanted;

    Capacity(GroupLimitedTopK rule, Parameters parameters, Optional<float[]> recorded) {
        this.rule = rule;
        factor = parameters.number("factor", 1.25, 0);
        byScore = parameters.word("drop", "position", "score").equals("score");
        wanted = new Choices(rule);
    }

    @Override
    public void route(Batch batch, Choices choices) {
        wanted.takeBest(batch);
        int E = rule.experts();
        int capacity = (int) Math.min(batch.T, Math.ceil((double) batch.T * rule.chosen() / E * factor));
        float[] least_E = new float[E];
        int[] room_E = new int[E], equal_E = new int[E];
        java.util.Arrays.fill(room_E, capacity);
        if (byScore) findLeast(batch, capacity, least_E, equal_E);
        int[] kept_K = new int[rule.chosen()];
        choices.clear();
        for (int t = 0; t < batch.T; t++) {
            int kept = 0;
            for (int n = wanted.offset(t); n < wanted.offset(t + 1); n++) {
                int e = wanted.expert(n);
                float score = batch.score_TE[t * E + e];
                boolean stays =
                        byScore ? score > least_E[e] || (score == least_E[e] && equal_E[e]-- > 0) : room_E[e]-- > 0;
                if (stays) kept_K[kept++] = e;
            }
            choices.add(kept_K, kept);
            choices.drop(rule.chosen() - kept);
        }
    }

    /** For each expert the lowest score that it still computes, and how many of exactly this score. */
    private void findLeast(Batch batch, int capacity, float[] least_E, int[] equal_E) {
        int E = rule.experts();
        float[][] score_E = new float[E][batch.T];
        int[] count_E = new int[E];
        for (int t = 0; t < batch.T; t++)
            for (int n = wanted.offset(t); n < wanted.offset(t + 1); n++) {
                int e = wanted.expert(n);
                score_E[e][count_E[e]++] = batch.score_TE[t * E + e];
            }
        for (int e = 0; e < E; e++) {
            boolean all = count_E[e] <= capacity;
            if (all || capacity == 0) {
                least_E[e] = all ? Float.NEGATIVE_INFINITY : Float.POSITIVE_INFINITY;
                continue;
            }
            least_E[e] = Ranks.largest(score_E[e], count_E[e], capacity - 1);
            equal_E[e] = capacity;
            for (int i = 0; i < count_E[e]; i++) if (score_E[e][i] > least_E[e]) equal_E[e]--;
        }
    }
}
