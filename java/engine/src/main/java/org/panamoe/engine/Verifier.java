package org.panamoe.engine;

import org.panamoe.model.Logits;

/** Decides which drafts stand: a draft stands while it is what the model itself chooses. */
final class Verifier {
    /** Inside a prompt nothing is chosen: the next token is the prompt's. */
    Accepted accept(Turn turn, Logits logits) {
        var batch = turn.batch();
        int[] count = new int[batch.spans.size()];
        int[] next = new int[batch.spans.size()];
        int row = 0;
        for (int a = 0; a < count.length; a++) {
            var span = batch.spans.get(a);
            var generation = turn.generations().get(a);
            int first = span.to() - span.sampled();
            if (span.sampled() == 0) next[a] = generation.token(batch.position_T[span.to() - 1] + 1);
            else {
                while (true) {
                    int position = batch.position_T[first + count[a]] + 1;
                    next[a] = generation.sampler.choose(logits, row + count[a], position);
                    if (count[a] == span.sampled() - 1 || generation.drafts[count[a]] != next[a]) break;
                    count[a]++;
                }
            }
            row += span.sampled();
        }
        return new Accepted(count, next);
    }
}
