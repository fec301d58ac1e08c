package org.panamoe.lab.routing;

/**
 * Where experts lie when they are spread over devices, and what a token weighs.
 *
 * @param ranks devices; each holds E / ranks experts that follow each other
 * @param nodes machines; each holds ranks / nodes devices
 * @param hidden values of a token (D)
 * @param tile rows that a grouped GEMM computes at once
 */
public record Geometry(int ranks, int nodes, int hidden, int tile) {
    /** Values that share one scale in FP8 dispatch. */
    private static final int SCALED_TOGETHER = 128;

    public Geometry {
        boolean fits = nodes >= 1 && ranks >= nodes && ranks % nodes == 0 && hidden >= 1 && tile >= 1;
        if (!fits)
            throw new IllegalArgumentException("%d ranks on %d nodes, %d values a token, tiles of %d rows: do not fit"
                    .formatted(ranks, nodes, hidden, tile));
    }

    void check(int experts) {
        if (experts % ranks != 0)
            throw new IllegalArgumentException(
                    "%d experts cannot be spread over %d ranks equally".formatted(experts, ranks));
    }

    /** Bytes of one copy of a token to where its expert lies, in FP8 with scales, and of the result back, in BF16. */
    double bytesPerCopy() {
        return hidden + 4.0 * hidden / SCALED_TOGETHER + 2.0 * hidden;
    }
}
