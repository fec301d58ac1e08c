package org.panamoe.bench.kernel;

import java.util.List;
import org.panamoe.backend.Kernels;
import org.panamoe.backend.Scoring;
import org.panamoe.bench.Shape;
import org.panamoe.tensor.DType;

/** What the gate says becomes scores, in place: from the second call on, scores of scores, which stay in [0, 1]. */
public record Score(Scoring scoring, int T, int E) implements KernelWork {
    public static Score of(Shape shape, int T) {
        return new Score(shape.scoring(), T, shape.experts());
    }

    @Override
    public String function() {
        return "score";
    }

    @Override
    public int rows() {
        return T;
    }

    @Override
    public String sizes() {
        return String.valueOf(E);
    }

    @Override
    public double bytes() {
        return 2.0 * DType.F32.bytes * T * E;
    }

    /** The sign or the distance to the largest, the exponential, the sum, the quotient. */
    @Override
    public double flops() {
        return 4.0 * T * E;
    }

    @Override
    public Call prepare(Kernels kernels, Inputs inputs) {
        var score_TE = inputs.activations(T, E);
        return new Call(List.of(score_TE), () -> kernels.score(score_TE, scoring));
    }
}
