package org.panamoe.bench.kernel;

import java.util.List;
import org.panamoe.backend.Kernels;
import org.panamoe.bench.Shape;
import org.panamoe.tensor.DType;

/** What comes out of an expert's gate and up. */
public record Swiglu(int N, int F) implements KernelWork {
    public static Swiglu of(Shape shape, int N) {
        return new Swiglu(N, shape.config().moeIntermediateSize());
    }

    @Override
    public String function() {
        return "swiglu";
    }

    @Override
    public int rows() {
        return N;
    }

    @Override
    public String sizes() {
        return String.valueOf(F);
    }

    @Override
    public double bytes() {
        return 3.0 * DType.F32.bytes * N * F;
    }

    /** The sign, the exponential, the sum, the quotient, the product. */
    @Override
    public double flops() {
        return 5.0 * N * F;
    }

    @Override
    public Call prepare(Kernels kernels, Inputs inputs) {
        var y_NF = inputs.result(DType.F32, N, F);
        var gate_NF = inputs.activations(N, F);
        var up_NF = inputs.activations(N, F);
        return new Call(List.of(y_NF), () -> kernels.swiglu(y_NF, gate_NF, up_NF));
    }
}
