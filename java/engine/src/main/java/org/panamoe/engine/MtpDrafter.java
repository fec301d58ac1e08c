package org.panamoe.engine;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import org.panamoe.model.Batch;
import org.panamoe.model.LatentCache;
import org.panamoe.model.Logits;
import org.panamoe.model.MtpModule;
import org.panamoe.tensor.Tensor;

/**
 * Drafts with the MTP module. It runs over every row that became certain, so that its own pages hold the whole sequence,
 * and drafts from the last one; further drafts come from the module's own states, the same module again and again.
 */
final class MtpDrafter {
    private final MtpModule mtp;
    private final LatentCache cache;
    private Rows rows = new Rows(), further = new Rows();

    MtpDrafter(MtpModule mtp, LatentCache cache) {
        this.mtp = mtp;
        this.cache = cache;
    }

    /** Drafts for each generation of the turn; none where none are wanted or the prompt goes on. */
    void draft(Turn turn, Accepted accepted, Tensor hidden_TD) {
        rows.clear();
        for (int a = 0; a < turn.batch.A(); a++) {
            var span = turn.batch.span(a);
            var generation = turn.generations.get(a);
            boolean chose = span.sampled() > 0;
            int wanted = generation.draftsWanted(chose ? accepted.count[a] + 1 : 0);
            generation.expect(chose ? wanted : 0);
            if (wanted == 0) continue;
            int certain = span.to() - (chose ? span.sampled() - 1 - accepted.count[a] : 0);
            for (int t = span.from(); t < certain; t++)
                rows.row(t + 1 == certain ? accepted.next[a] : turn.batch.token(t + 1), turn.batch.position(t), t);
            rows.span(generation, chose);
        }
        var hidden = hidden_TD;
        for (int j = 0; !rows.batch.isEmpty(); j++) {
            var output = mtp.forward(rows.batch, hidden, rows.hiddenRow_T, cache);
            further.clear();
            rows.choose(output.logits(), j, further);
            hidden = output.hidden_TD();
            var spent = rows;
            rows = further;
            further = spent;
        }
        further.clear();
    }

    /** The rows of one run of the module, sequences side by side. */
    private static final class Rows {
        final Batch batch = new Batch();
        /** For each row that of the states it comes from; as long as the longest run needed. */
        int[] hiddenRow_T = {};

        private final List<Generation> generations = new ArrayList<>();

        void clear() {
            batch.clear();
            generations.clear();
        }

        void row(int token, int position, int hiddenRow) {
            int t = batch.T();
            if (t == hiddenRow_T.length) hiddenRow_T = Arrays.copyOf(hiddenRow_T, Math.max(8, 2 * t));
            hiddenRow_T[t] = hiddenRow;
            batch.row(token, position);
        }

        /** The rows behind the last span are this one's; whether it chooses a draft from the last of them. */
        void span(Generation generation, boolean chooses) {
            batch.span(generation.slot, chooses ? 1 : 0, generation.request.prompt.length);
            generations.add(generation);
        }

        /** Chooses draft j of every span, and adds the rows from which draft j + 1 will come. */
        void choose(Logits logits, int j, Rows further) {
            int row = 0;
            for (int a = 0; a < batch.A(); a++) {
                var span = batch.span(a);
                if (span.sampled() == 0) continue;
                var generation = generations.get(a);
                int last = span.to() - 1, position = batch.position(last);
                int token = generation.sampler.choose(logits, row++, position + 2);
                generation.expect(j, token);
                if (j + 1 < generation.expected()) {
                    further.row(token, position + 1, last);
                    further.span(generation, true);
                }
            }
        }
    }
}
