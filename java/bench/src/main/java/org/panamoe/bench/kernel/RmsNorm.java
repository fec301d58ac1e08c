package org.panamoe.bench.kernel;

import java.util.List;
import org.panamoe.backend.Kernels;
import org.panamoe.bench.Shape;
import org.panamoe.tensor.DType;

/** The norm before a layer's attention or experts. */
public record RmsNorm(int T, int D) implements KernelWork {
    public static RmsNorm of(Shape shape, int T) {
        return new RmsNorm(T, shape.config().hiddenSize());
    }

    @Override
    public String function() {
        return "rms_norm";
    }

    @Override
    public int rows() {
        return T;
    }

    @Override
    public String sizes() {
        return String.valueOf(D);
    }

    @Override
    public double bytes() {
        return 2.0 * DType.F32.bytes * T * D + DType.BF16.bytes * D;
    }

    /** The square and its sum, two products. */
    @Override
    public double flops() {
        return 4.0 * T * D;
    }

    @Override
    public Call prepare(Kernels kernels, Inputs inputs) {
        var y_TD = inputs.result(DType.F32, T, D);
        var x_TD = inputs.activations(T, D);
        var w_D = inputs.norm(D);
        return new Call(List.of(y_TD), () -> kernels.rmsNorm(y_TD, x_TD, w_D, 1e-6f));
    }
}
