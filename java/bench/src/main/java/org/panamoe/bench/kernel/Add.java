package org.panamoe.bench.kernel;

import java.util.List;
import org.panamoe.backend.Kernels;
import org.panamoe.bench.Shape;
import org.panamoe.tensor.DType;

/** The residual. Call after call adds to the same y, which grows by less than 2 each time. */
public record Add(int T, int D) implements KernelWork {
    public static Add of(Shape shape, int T) {
        return new Add(T, shape.config().hiddenSize());
    }

    @Override
    public String function() {
        return "add";
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
        return 3.0 * DType.F32.bytes * T * D;
    }

    @Override
    public double flops() {
        return (double) T * D;
    }

    @Override
    public Call prepare(Kernels kernels, Inputs inputs) {
        var y_TD = inputs.activations(T, D);
        var x_TD = inputs.activations(T, D);
        return new Call(List.of(y_TD), () -> kernels.add(y_TD, x_TD));
    }
}
