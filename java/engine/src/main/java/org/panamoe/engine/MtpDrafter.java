package org.panamoe.engine;

import java.util.ArrayList;
import java.util.List;
import org.panamoe.model.Batch;
import org.panamoe.model.LatentCache;
import org.panamoe.model.Model;
import org.panamoe.model.MtpModule;
import org.panamoe.tensor.Tensor;

/**
 * Drafts with the MTP module. It runs over every row that became certain, so that its own pages hold the whole sequence,
 * and drafts from the last one; further drafts come from the module's own states, the same module again and again.
 */
final class MtpDrafter {
    private final MtpModule mtp;
    private final LatentCache cache;

    MtpDrafter(MtpModule mtp, LatentCache cache) {
        this.mtp = mtp;
        this.cache = cache;
    }

    /** For each span of the turn its drafts; none where none are wanted or the prompt goes on. */
    int[][] draft(Turn turn, Accepted accepted, Tensor hidden_TD) {
        int[][] drafts = new int[turn.generations().size()][];
        var rows = new Rows();
        for (int a = 0; a < drafts.length; a++) {
            var span = turn.batch().spans.get(a);
            var generation = turn.generations().get(a);
            boolean chose = span.sampled() > 0;
            int wanted = generation.draftsWanted(chose ? accepted.count[a] + 1 : 0);
            drafts[a] = new int[chose ? wanted : 0];
            if (wanted == 0) continue;
            int rejected = chose ? span.sampled() - 1 - accepted.count[a] : 0;
            rows.add(a, generation, span.slot(), chose);
            for (int t = span.from(); t < span.to() - rejected; t++) {
                boolean last = t + 1 == span.to() - rejected;
                rows.row(last ? accepted.next[a] : turn.batch().token_T[t + 1], turn.batch().position_T[t], t);
            }
        }
        var hidden = hidden_TD;
        for (int j = 0; !rows.isEmpty(); j++) {
            var output = rows.forward(mtp, hidden, cache);
            rows = rows.choose(output, drafts, j);
            hidden = output.hidden_TD();
        }
        return drafts;
    }

    /** The rows of one run of the module, sequences side by side. */
    private static final class Rows {
        private final List<Integer> turnSpan = new ArrayList<>();
        private final List<Generation> generations = new ArrayList<>();
        private final List<LatentCache.Slot> slots = new ArrayList<>();
        private final List<Boolean> sampled = new ArrayList<>();
        private final List<Integer> from = new ArrayList<>();
        private final List<Integer> token_T = new ArrayList<>();
        private final List<Integer> position_T = new ArrayList<>();
        private final List<Integer> hiddenRow_T = new ArrayList<>();

        boolean isEmpty() {
            return token_T.isEmpty();
        }

        void add(int span, Generation generation, LatentCache.Slot slot, boolean chooses) {
            turnSpan.add(span);
            generations.add(generation);
            slots.add(slot);
            sampled.add(chooses);
            from.add(token_T.size());
        }

        void row(int token, int position, int hiddenRow) {
            token_T.add(token);
            position_T.add(position);
            hiddenRow_T.add(hiddenRow);
        }

        Model.Output forward(MtpModule mtp, Tensor hidden_TD, LatentCache cache) {
            var spans = new ArrayList<Batch.Span>();
            for (int s = 0; s < slots.size(); s++)
                spans.add(new Batch.Span(
                        slots.get(s),
                        from.get(s),
                        to(s),
                        sampled.get(s) ? 1 : 0,
                        generations.get(s).request.prompt.length));
            return mtp.forward(
                    new Batch(array(token_T), array(position_T), spans), hidden_TD, array(hiddenRow_T), cache);
        }

        /** Chooses draft j of every span, and gives the rows from which draft j + 1 will come. */
        Rows choose(Model.Output output, int[][] drafts, int j) {
            var further = new Rows();
            int row = 0;
            for (int s = 0; s < slots.size(); s++) {
                if (!sampled.get(s)) continue;
                int last = to(s) - 1, position = position_T.get(last), a = turnSpan.get(s);
                drafts[a][j] = generations.get(s).sampler.choose(output.logits(), row++, position + 2);
                if (j + 1 < drafts[a].length) {
                    further.add(a, generations.get(s), slots.get(s), true);
                    further.row(drafts[a][j], position + 1, last);
                }
            }
            return further;
        }

        private int to(int s) {
            return s + 1 < from.size() ? from.get(s + 1) : token_T.size();
        }

        private static int[] array(List<Integer> values) {
            return values.stream().mapToInt(Integer::intValue).toArray();
        }
    }
}
