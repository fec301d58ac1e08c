package org.panamoe.lab.routing;

/**
 * Consecutive tokens of one layer, in arrays that are used again for the next ones. A trace fills in what it has: scores,
 * recorded choices, or both.
 */
public final class Batch {
    /** Experts of the layer. */
    public final int E;
    /** Experts that each token chooses. */
    public final int K;
    /** Scores before any bias, of the first {@link #T} tokens; empty if the trace has none. */
    public final float[] score_TE;
    /** Recorded choices, best first; empty if they are not asked for. */
    public final int[] expert_TK;
    /** Tokens that are here now. */
    public int T;
    /** Tokens that follow each other in one sequence, beginning with the first; what is left over is one more. */
    public int window;

    private Batch(int E, int K, int scores, int choices) {
        this.E = E;
        this.K = K;
        score_TE = new float[scores];
        expert_TK = new int[choices];
    }

    /** Room for the scores of so many tokens. */
    public static Batch ofScores(int capacity, int E, int K) {
        return new Batch(E, K, size(capacity, E), 0);
    }

    /** Room for the recorded choices of so many tokens. */
    public static Batch ofChoices(int capacity, int E, int K) {
        return new Batch(E, K, 0, size(capacity, K));
    }

    /** Whether this batch asks for scores, else for choices. */
    public boolean wantsScores() {
        return score_TE.length > 0;
    }

    public int capacity() {
        return wantsScores() ? score_TE.length / E : expert_TK.length / K;
    }

    private static int size(int capacity, int each) {
        if (capacity < 1 || (long) capacity * each > 1 << 30)
            throw new IllegalArgumentException(
                    "a batch of %d tokens, %d values each: between 1 and 2^30 values fit".formatted(capacity, each));
        return capacity * each;
    }
}
