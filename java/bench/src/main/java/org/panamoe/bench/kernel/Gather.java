package org.panamoe.bench.kernel;

import java.util.List;
import java.util.stream.IntStream;
import org.panamoe.backend.Kernels;
import org.panamoe.bench.Shape;
import org.panamoe.tensor.DType;

/** Each of T tokens to its K experts. */
public record Gather(int T, int K, int D) implements KernelWork {
    public static Gather of(Shape shape, int T) {
        var c = shape.config();
        return new Gather(T, c.numExpertsPerTok(), c.hiddenSize());
    }

    @Override
    public String function() {
        return "gather";
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
        return (double) DType.F32.bytes * T * ((1.0 + K) * D + K);
    }

    @Override
    public double flops() {
        return 0;
    }

    @Override
    public Call prepare(Kernels kernels, Inputs inputs) {
        int N = T * K;
        var y_ND = inputs.result(DType.F32, N, D);
        var x_TD = inputs.activations(T, D);
        var token_N = inputs.ints(tokens(N, T));
        return new Call(List.of(y_ND), () -> kernels.gather(y_ND, x_TD, token_N));
    }

    /** As if K experts had each all the tokens: in order, again and again. */
    static int[] tokens(int N, int T) {
        return IntStream.range(0, N).map(n -> n % T).toArray();
    }
}
