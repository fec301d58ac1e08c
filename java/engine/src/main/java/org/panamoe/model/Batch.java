package org.panamoe.model;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Objects;

/** The rows of one step, sequences side by side. One object may serve all steps, see {@link #clear}. */
public final class Batch {
    /**
     * Rows [from, to) of a step belong to one sequence and continue what its slot holds.
     *
     * @param sampled how many of the last rows want logits: 0 inside a prompt, 1 + drafts where the next token is chosen
     * @param prompt with how many tokens the sequence begins that are its prompt, be they rows of this step or not: the
     *     whole blocks of {@value #BLOCK} among them are attended to expanded. The same in every step of a sequence: a
     *     row's bits depend on it
     */
    public record Span(LatentCache.Slot slot, int from, int to, int sampled, int prompt) {
        public Span {
            if (from < 0 || to <= from || sampled < 0 || sampled > to - from)
                throw new IllegalArgumentException("a span of rows [%d, %d) samples %d".formatted(from, to, sampled));
            if (prompt < 0) throw new IllegalArgumentException("a prompt of %d tokens".formatted(prompt));
        }

        /** Of a sequence that has no prompt, or none worth expanding. */
        public Span(LatentCache.Slot slot, int from, int to, int sampled) {
            this(slot, from, to, sampled, 0);
        }

        public int rows() {
            return to - from;
        }

        private boolean is(LatentCache.Slot slot, int from, int to, int sampled, int prompt) {
            return this.slot == slot
                    && this.from == from
                    && this.to == to
                    && this.sampled == sampled
                    && this.prompt == prompt;
        }
    }

    /** Rows [from, to) of a step, whose attention has the same form: expanded, or absorbed. */
    record Stretch(int from, int to, boolean expanded) {}

    /** Positions that are expanded together, or not at all. */
    private static final int BLOCK = 256;

    /** As long as the longest step needed: the first T, and the first {@link #sampled}, count. */
    int[] token_T = {}, position_T = {}, sampledRows = {};

    private int T, sampled;
    /** The first A count; those behind are of steps before. */
    private final List<Span> spans = new ArrayList<>();

    private int A;

    /** Of no rows; they are added one by one, and each sequence ends with its {@link #span(LatentCache.Slot, int, int)}. */
    public Batch() {}

    /**
     * @throws IllegalArgumentException if the spans do not cover the rows in order, or positions are negative or do not
     *     ascend by one
     */
    public Batch(int[] token_T, int[] position_T, List<Span> spans) {
        int rows = 0;
        for (var span : spans) {
            if (span.from != rows)
                throw new IllegalArgumentException("rows %d to %d have no span".formatted(rows, span.from));
            rows = span.to;
        }
        if (token_T.length != rows || position_T.length != rows)
            throw new IllegalArgumentException(
                    "%d tokens, %d positions, %d rows in spans".formatted(token_T.length, position_T.length, rows));
        for (var span : spans) {
            for (int t = span.from; t < span.to; t++) row(token_T[t], position_T[t]);
            span(span.slot, span.sampled, span.prompt);
        }
    }

    /** One sequence without a prompt: {@code tokens} continue {@code slot}; the last {@code sampled} rows want logits. */
    public static Batch of(LatentCache.Slot slot, int[] tokens, int sampled) {
        return of(slot, tokens, sampled, 0);
    }

    /** The same of a sequence that begins with a prompt of so many tokens, see {@link Span}. */
    public static Batch of(LatentCache.Slot slot, int[] tokens, int sampled, int prompt) {
        int[] position_T = new int[tokens.length];
        for (int t = 0; t < tokens.length; t++) position_T[t] = slot.length() + t;
        return new Batch(tokens, position_T, List.of(new Span(slot, 0, tokens.length, sampled, prompt)));
    }

    /** Takes all rows away, to be filled for another step. */
    public void clear() {
        T = 0;
        sampled = 0;
        A = 0;
    }

    /** Adds a row. */
    public void row(int token, int position) {
        if (T == token_T.length) {
            int room = Math.max(8, 2 * T);
            token_T = Arrays.copyOf(token_T, room);
            position_T = Arrays.copyOf(position_T, room);
            sampledRows = Arrays.copyOf(sampledRows, room);
        }
        token_T[T] = token;
        position_T[T++] = position;
    }

    /**
     * The rows behind the last span are this sequence's, see {@link Span}.
     *
     * @throws IllegalArgumentException if there are none, fewer than are sampled, or if their positions are negative or do
     *     not ascend by one
     */
    public void span(LatentCache.Slot slot, int sampled, int prompt) {
        int from = A == 0 ? 0 : span(A - 1).to;
        if (from < T && position_T[from] < 0)
            throw new IllegalArgumentException("row %d is at position %d".formatted(from, position_T[from]));
        for (int t = from + 1; t < T; t++)
            if (position_T[t] != position_T[t - 1] + 1)
                throw new IllegalArgumentException(
                        "row %d is at position %d, row %d at %d".formatted(t - 1, position_T[t - 1], t, position_T[t]));
        if (A == spans.size()) spans.add(new Span(slot, from, T, sampled, prompt));
        else if (!spans.get(A).is(slot, from, T, sampled, prompt))
            spans.set(A, new Span(slot, from, T, sampled, prompt));
        A++;
        for (int t = T - sampled; t < T; t++) sampledRows[this.sampled++] = t;
    }

    public boolean isEmpty() {
        return A == 0;
    }

    /** Number of rows. */
    public int T() {
        return T;
    }

    public int token(int t) {
        return token_T[Objects.checkIndex(t, T)];
    }

    public int position(int t) {
        return position_T[Objects.checkIndex(t, T)];
    }

    /** Number of sequences. */
    public int A() {
        return A;
    }

    public Span span(int a) {
        return spans.get(Objects.checkIndex(a, A));
    }

    /** How many rows want logits. */
    public int sampled() {
        return sampled;
    }

    /** How many of a prompt's first positions are attended to expanded: its whole blocks. */
    public static int expanded(int prompt) {
        return prompt / BLOCK * BLOCK;
    }

    /** Whether any row is attended to expanded. */
    boolean expands() {
        for (int a = 0; a < A; a++) if (position_T[span(a).from] < expanded(span(a).prompt)) return true;
        return false;
    }

    /**
     * All rows, cut where the form of attention changes. Expanded are those at positions of whole blocks of a prompt: so
     * are all positions that they see, and the form of a row does not depend on how the prompt is cut into steps.
     */
    List<Stretch> stretches() {
        var stretches = new ArrayList<Stretch>();
        for (var span : spans.subList(0, A)) {
            int middle = span.from + Math.clamp(expanded(span.prompt) - position_T[span.from], 0, span.rows());
            add(stretches, new Stretch(span.from, middle, true));
            add(stretches, new Stretch(middle, span.to, false));
        }
        return stretches;
    }

    private static void add(List<Stretch> stretches, Stretch next) {
        if (next.from == next.to) return;
        if (!stretches.isEmpty() && stretches.getLast().expanded == next.expanded)
            next = new Stretch(stretches.removeLast().from, next.to, next.expanded);
        stretches.add(next);
    }
}
