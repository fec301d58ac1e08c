package org.panamoe.model;

import java.util.ArrayList;
import java.util.List;
import java.util.stream.IntStream;

/** The rows of one step, sequences side by side. */
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
    }

    /** Rows [from, to) of a step, whose attention has the same form: expanded, or absorbed. */
    record Stretch(int from, int to, boolean expanded) {}

    /** Positions that are expanded together, or not at all. */
    private static final int BLOCK = 256;

    public final int[] token_T;
    public final int[] position_T;
    public final List<Span> spans;
    private final int[] sampled;

    /**
     * @throws IllegalArgumentException if the spans do not cover the rows in order, or positions are negative or do not
     *     ascend by one
     */
    public Batch(int[] token_T, int[] position_T, List<Span> spans) {
        this.token_T = token_T.clone();
        this.position_T = position_T.clone();
        this.spans = List.copyOf(spans);
        int row = 0;
        for (var span : spans) {
            if (span.from != row)
                throw new IllegalArgumentException("rows %d to %d have no span".formatted(row, span.from));
            if (span.from < position_T.length && position_T[span.from] < 0)
                throw new IllegalArgumentException(
                        "row %d is at position %d".formatted(span.from, position_T[span.from]));
            for (int t = span.from + 1; t < Math.min(span.to, position_T.length); t++)
                if (position_T[t] != position_T[t - 1] + 1)
                    throw new IllegalArgumentException("row %d is at position %d, row %d at %d"
                            .formatted(t - 1, position_T[t - 1], t, position_T[t]));
            row = span.to;
        }
        if (token_T.length != row || position_T.length != row)
            throw new IllegalArgumentException(
                    "%d tokens, %d positions, %d rows in spans".formatted(token_T.length, position_T.length, row));
        sampled = this.spans.stream()
                .flatMapToInt(s -> IntStream.range(s.to - s.sampled, s.to))
                .toArray();
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

    public boolean isEmpty() {
        return spans.isEmpty();
    }

    /** Number of rows. */
    public int T() {
        return token_T.length;
    }

    /** How many of a prompt's first positions are attended to expanded: its whole blocks. */
    public static int expanded(int prompt) {
        return prompt / BLOCK * BLOCK;
    }

    /** Whether any row is attended to expanded. */
    boolean expands() {
        for (int a = 0; a < spans.size(); a++)
            if (position_T[spans.get(a).from] < expanded(spans.get(a).prompt)) return true;
        return false;
    }

    /**
     * All rows, cut where the form of attention changes. Expanded are those at positions of whole blocks of a prompt: so
     * are all positions that they see, and the form of a row does not depend on how the prompt is cut into steps.
     */
    List<Stretch> stretches() {
        var stretches = new ArrayList<Stretch>();
        for (var span : spans) {
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

    /** The rows that want logits, ascending. */
    int[] sampledRows() {
        return sampled;
    }
}
