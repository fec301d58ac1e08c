package org.panamoe.bench.kernel;

import java.util.List;
import org.panamoe.backend.Kernels;
import org.panamoe.bench.Shape;
import org.panamoe.tensor.DType;

/** What K experts say of each of T tokens, by their weights. Call after call adds to the same y. */
public record Combine(int T, int K, int D) implements KernelWork {
    public static Combine of(Shape shape, int T) {
        var c = shape.config();
        return new Combine(T, c.numExpertsPerTok(), c.hiddenSize());
    }

    @Override
    public String function() {
        return "combine";
    }

    @Override
    public int rows() {
        return T;
    }

    @Override
    public String sizes() {
        return K + " x " + D;
    }

    @Override
    public double bytes() {
        return (double) DType.F32.bytes * T * ((2.0 + K) * D + 2 * K);
    }

    @Override
    public double flops() {
        return 2.0 * T * K * D;
    }

    @Override
    public Call prepare(Kernels kernels, Inputs inputs) {
        int N = T * K;
        var y_TD = inputs.activations(T, D);
        var x_ND = inputs.activations(N, D);
        var token_N = inputs.ints(Gather.tokens(N, T));
        var weight_N = inputs.scores(N);
        return new Call(List.of(y_TD), () -> kernels.combine(y_TD, x_ND, token_N, weight_N));
    }
}
