package org.panamoe.engine;

import java.util.Arrays;
import java.util.List;
import org.panamoe.model.Batch;
import org.panamoe.model.LatentCache;
import org.panamoe.model.Logits;
import org.panamoe.model.Model;

/** Runs a model over given tokens, which are a prompt to it, and hands out the logits of every position. */
public final class TeacherForcing {
    /** Rows of a step: logits of all of them are held at once. */
    private static final int ROWS = 128;

    /** Takes the logits [V] of one position; the array is used again. */
    @FunctionalInterface
    public interface Sink {
        void row(int position, float[] logit_V);
    }

    private TeacherForcing() {}

    /** The main model's logits, one row for each token. */
    public static void logits(Model model, int[] tokens, Sink sink) {
        run(model, tokens, (from, count, output, cache, slot) -> hand(output.logits(), from, model, sink));
    }

    /**
     * The MTP module's draft logits: row i from the main model's state at i and token i + 1, so one row less than tokens.
     *
     * @throws IllegalArgumentException if the model has no MTP module
     */
    public static void draftLogits(Model model, int[] tokens, Sink sink) {
        var mtp = model.mtp().orElseThrow(() -> new IllegalArgumentException("the model has no MTP module"));
        run(model, tokens, (from, count, output, cache, slot) -> {
            int rows = Math.min(count, tokens.length - 1 - from);
            if (rows == 0) return;
            int[] next = Arrays.copyOfRange(tokens, from + 1, from + 1 + rows);
            int[] position_T = new int[rows], row_T = new int[rows];
            for (int t = 0; t < rows; t++) {
                position_T[t] = from + t;
                row_T[t] = t;
            }
            var batch = new Batch(next, position_T, List.of(new Batch.Span(slot, 0, rows, rows, tokens.length)));
            hand(mtp.forward(batch, output.hidden_TD(), row_T, cache).logits(), from, model, sink);
        });
    }

    @FunctionalInterface
    private interface Chunk {
        void computed(int from, int count, Model.Output output, LatentCache cache, LatentCache.Slot slot);
    }

    private static void run(Model model, int[] tokens, Chunk chunk) {
        if (tokens.length == 0) throw new IllegalArgumentException("there are no tokens");
        if (tokens.length > model.config().maxPositionEmbeddings())
            throw new IllegalArgumentException("%d tokens: the model has max_position_embeddings %d"
                    .formatted(tokens.length, model.config().maxPositionEmbeddings()));
        try (var cache = new LatentCache(model, tokens.length)) {
            var slot = cache.open();
            cache.reserve(slot, tokens.length);
            for (int from = 0; from < tokens.length; from += ROWS) {
                int[] part = Arrays.copyOfRange(tokens, from, Math.min(tokens.length, from + ROWS));
                var output = model.forward(Batch.of(slot, part, part.length, tokens.length), cache);
                chunk.computed(from, part.length, output, cache, slot);
            }
        }
    }

    private static void hand(Logits logits, int from, Model model, Sink sink) {
        float[] logit_V = new float[model.config().vocabSize()];
        for (int t = 0; t < logits.rows(); t++) {
            logits.row(t, logit_V);
            sink.row(from + t, logit_V);
        }
    }
}
