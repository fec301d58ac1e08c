package org.panamoe.model;

import java.lang.foreign.Arena;
import org.panamoe.backend.Kernels;
import org.panamoe.tensor.DType;
import org.panamoe.tensor.Tensor;

/** What the head says of the sampled rows of one step, in their order; valid until the next step. */
public final class Logits {
    private final Kernels kernels;
    private final Buffer index;
    final Tensor logits_TV;
    private final int[] argmax_T;
    private boolean argmaxKnown;

    Logits(Kernels kernels, Buffer index, Tensor logits_TV) {
        this.kernels = kernels;
        this.index = index;
        this.logits_TV = logits_TV;
        argmax_T = new int[logits_TV.dim(0)];
    }

    /** Of another step, which has as many sampled rows. */
    void renew() {
        argmaxKnown = false;
    }

    /** Number of sampled rows. */
    public int rows() {
        return argmax_T.length;
    }

    /** The likeliest token of sampled row t; the lowest id wins a tie. */
    public int argmax(int t) {
        requireRow(t);
        if (!argmaxKnown) {
            kernels.argmax(index.rows(rows()), logits_TV);
            index.read(rows(), argmax_T);
            argmaxKnown = true;
        }
        return argmax_T[t];
    }

    /** Copies sampled row t. */
    public void row(int t, float[] into_V) {
        requireRow(t);
        try (var local = Arena.ofConfined()) {
            var host = Tensor.allocate(local, DType.F32, 1, into_V.length);
            kernels.copy(host, logits_TV.rows(t, t + 1));
            host.getFloats(0, into_V);
        }
    }

    private void requireRow(int t) {
        if (t < 0 || t >= rows()) throw new IllegalArgumentException("row %d: %d were sampled".formatted(t, rows()));
    }
}
