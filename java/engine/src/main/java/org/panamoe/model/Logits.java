package org.panamoe.model;

import java.lang.foreign.Arena;
import org.jspecify.annotations.Nullable;
import org.panamoe.backend.Kernels;
import org.panamoe.tensor.DType;
import org.panamoe.tensor.Tensor;

/** What the head says of the sampled rows of one step, in their order; valid until the next step. */
public final class Logits {
    private final Kernels kernels;
    private final Buffer index;
    private final Tensor logits_TV;
    private int @Nullable [] argmax_T;

    Logits(Kernels kernels, Buffer index, Tensor logits_TV) {
        this.kernels = kernels;
        this.index = index;
        this.logits_TV = logits_TV;
    }

    /** Number of sampled rows. */
    public int rows() {
        return logits_TV.dim(0);
    }

    /** The likeliest token of sampled row t; the lowest id wins a tie. */
    public int argmax(int t) {
        requireRow(t);
        if (argmax_T == null) {
            var index_T = index.rows(rows());
            kernels.argmax(index_T, logits_TV);
            argmax_T = index.ints(rows());
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
