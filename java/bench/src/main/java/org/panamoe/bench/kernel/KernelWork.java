package org.panamoe.bench.kernel;

import org.jspecify.annotations.Nullable;
import org.panamoe.backend.Kernels;
import org.panamoe.tensor.QuantFormat;

/** One call of one function of panamoe.h: its sizes, and what it must at least move and compute. */
public interface KernelWork {
    /** As panamoe.h calls it, without pm_: "grouped_gemm". */
    String function();

    /** Rows of activations; of each expert, where there are several. */
    int rows();

    /** The other sizes, for people and to tell calls apart: "8 x 2048 x 7168". */
    String sizes();

    /** How its weights are stored; null where it has none, or a mere vector. */
    default @Nullable QuantFormat format() {
        return null;
    }

    /** Positions that a row sees; 0 where there are none. */
    default int depth() {
        return 0;
    }

    /** Whether its products are of codes. */
    default boolean integer() {
        return false;
    }

    /** Weights or latents that it is given: what a model keeps in memory, and a benchmark hot or cold; 0 for none. */
    default long weightBytes() {
        return 0;
    }

    /** What a call must read and write, each byte once. */
    double bytes();

    /**
     * Multiplications and additions; an exponential, a root or a quotient counts as one, a comparison as none.
     */
    double flops();

    /** Makes what a call takes. */
    Call prepare(Kernels kernels, Inputs inputs);
}
