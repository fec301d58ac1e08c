package org.panamoe.engine;

import org.panamoe.model.Logits;

/** Decides which drafts stand: a draft stands while it is what the model itself chooses. */
final class Verifier {
    private Accepted accepted = new Accepted(0);

    /** Inside a prompt nothing is chosen: the next token is the prompt's. What is returned is valid until the next step. */
    Accepted accept(Turn turn, Logits logits) {
        var batch = turn.batch;
        if (accepted.count.length != batch.A()) accepted = new Accepted(batch.A());
        int[] count = accepted.count, next = accepted.next;
        int row = 0;
        for (int a = 0; a < count.length; a++) {
            count[a] = 0;
            var span = batch.span(a);
            var generation = turn.generations.get(a);
            int first = span.to() - span.sampled();
            if (span.sampled() == 0) next[a] = generation.token(batch.position(span.to() - 1) + 1);
            else {
                while (true) {
                    int position = batch.position(first + count[a]) + 1;
                    next[a] = generation.sampler.choose(logits, row + count[a], position);
                    if (count[a] == span.sampled() - 1 || generation.draft(count[a]) != next[a]) break;
                    count[a]++;
                }
            }
            row += span.sampled();
        }
        return accepted;
    }
}
