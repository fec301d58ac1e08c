package org.panamoe.lab.routing;

import java.util.BitSet;
import java.util.Optional;
import org.panamoe.backend.GroupLimitedTopK;

/**
 * Expert choice: each expert takes the C = T K / E tokens of the batch that want it most,
 *
 * <pre>  TopC over i of s_ij / sum over j of s_ij</pre>
 *
 * so that the balance is perfect and a token has 0 to E experts. An expert compares tokens with later ones: in a causal
 * model this leaks the future. Zhou et al. 2022 (arXiv 2202.09368), with scores normed over a token's experts in the
 * place of the softmax. Where E does not divide T K the first experts take one more; equal tokens: the earlier one.
 *
 * <p>No parameters, and no groups: an expert does not know which groups a token may use.
 */
final class ExpertChoice implements Balancer {
    private final GroupLimitedTopK rule;
    private final int[] expert_E;

    ExpertChoice(GroupLimitedTopK rule, Parameters parameters, Optional<float[]> recorded) {
        if (rule.keptGroups() < rule.groups())
            throw parameters.wrong("experts choose from all tokens, but a token may use %d of %d groups only"
                    .formatted(rule.keptGroups(), rule.groups()));
        this.rule = rule;
        expert_E = new int[rule.experts()];
    }

    @Override
    public void route(Batch batch, Choices choices) {
        int T = batch.T, E = rule.experts();
        float[] want_T = new float[T], sorted_T = new float[T];
        double[] sum_T = new double[T];
        for (int t = 0; t < T; t++) for (int e = 0; e < E; e++) sum_T[t] += batch.score_TE[t * E + e];
        var taken_TE = new BitSet(T * E);
        long N = (long) T * rule.chosen();
        for (int e = 0; e < E; e++) {
            for (int t = 0; t < T; t++) sorted_T[t] = want_T[t] = (float) (batch.score_TE[t * E + e] / sum_T[t]);
            int capacity = (int) (N / E + (e < N % E ? 1 : 0));
            if (capacity > 0) take(want_T, Ranks.largest(sorted_T, T, capacity - 1), capacity, e, taken_TE);
        }
        choices.clear();
        for (int t = 0; t < T; t++) {
            int count = 0;
            for (int e = taken_TE.nextSetBit(t * E); e >= 0 && e < (t + 1) * E; e = taken_TE.nextSetBit(e + 1))
                expert_E[count++] = e - t * E;
            choices.add(expert_E, count);
        }
    }

    /** All tokens above the least, and as many of those equal to it as there is room for. */
    private void take(float[] want_T, float least, int capacity, int expert, BitSet taken_TE) {
        int equal = capacity;
        for (float want : want_T) if (want > least) equal--;
        for (int t = 0; t < want_T.length; t++)
            if (want_T[t] > least || (want_T[t] == least && equal-- > 0)) taken_TE.set(t * rule.experts() + expert);
    }
}
