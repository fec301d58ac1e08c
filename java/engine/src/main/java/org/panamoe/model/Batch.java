package org.panamoe.model;

import java.util.List;
import java.util.stream.IntStream;

/** The rows of one step, sequences side by side. */
public final class Batch {
    /**
     * Rows [from, to) of a step belong to one sequence and continue what its slot holds.
     *
     * @param sampled how many of the last rows want logits: 0 inside a prompt, 1 + drafts where the next token is chosen
     */
    public record Span(LatentCache.Slot slot, int from, int to, int sampled) {
        public Span {
            if (from < 0 || to <= from || sampled < 0 || sampled > to - from)
                throw new IllegalArgumentException("a span of rows [%d, %d) samples %d".formatted(from, to, sampled));
        }

        public int rows() {
            return to - from;
        }
    }

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

    /** One sequence: {@code tokens} continue {@code slot}; the last {@code sampled} rows want logits. */
    public static Batch of(LatentCache.Slot slot, int[] tokens, int sampled) {
        int[] position_T = new int[tokens.length];
        for (int t = 0; t < tokens.length; t++) position_T[t] = slot.length() + t;
        return new Batch(tokens, position_T, List.of(new Span(slot, 0, tokens.length, sampled)));
    }

    public boolean isEmpty() {
        return spans.isEmpty();
    }

    /** Number of rows. */
    public int T() {
        return token_T.length;
    }

    /** The rows that want logits, ascending. */
    int[] sampledRows() {
        return sampled;
    }
}
