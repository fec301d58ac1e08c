package org.panamoe.bench.kernel;

import java.util.List;
import org.panamoe.backend.Kernels;
import org.panamoe.bench.Shape;
import org.panamoe.tensor.DType;

/** The greedy token of T rows of logits. */
public record Argmax(int T, int V) implements KernelWork {
    public static Argmax of(Shape shape, int T) {
        return new Argmax(T, shape.vocab());
    }

    @Override
    public String function() {
        return "argmax";
    }

    @Override
    public int rows() {
        return T;
    }

    @Override
    public String sizes() {
        return String.valueOf(V);
    }

    @Override
    public double bytes() {
        return (double) DType.F32.bytes * T * (V + 1);
    }

    @Override
    public double flops() {
        return 0;
    }

    @Override
    public Call prepare(Kernels kernels, Inputs inputs) {
        var index_T = inputs.result(DType.I32, T);
        var x_TV = inputs.activations(T, V);
        return new Call(List.of(index_T), () -> kernels.argmax(index_T, x_TV));
    }
}
