package org.panamoe.bench.kernel;

import java.util.List;
import java.util.stream.IntStream;
import org.panamoe.backend.Kernels;
import org.panamoe.bench.Shape;
import org.panamoe.tensor.DType;
import org.panamoe.tensor.QuantFormat;

/** T tokens of V; cold ones are others in each call. */
public record Embed(QuantFormat format, int T, int V, int D) implements KernelWork {
    /** Prime, so that tokens so far apart are all different ones. */
    private static final long APART = 7919;

    public static Embed of(Shape shape, int T) {
        return new Embed(QuantFormat.BF16, T, shape.vocab(), shape.config().hiddenSize());
    }

    @Override
    public String function() {
        return "embed";
    }

    @Override
    public int rows() {
        return T;
    }

    @Override
    public String sizes() {
        return V + " x " + D;
    }

    @Override
    public long weightBytes() {
        return format.bytes(V, D);
    }

    @Override
    public double bytes() {
        return (double) format.bytes(T, D) + (double) DType.F32.bytes * T * (D + 1);
    }

    @Override
    public double flops() {
        return 0;
    }

    @Override
    public Call prepare(Kernels kernels, Inputs inputs) {
        var y_TD = inputs.result(DType.F32, T, D);
        var w_VD = inputs.weights(format, 1, V, D).getFirst();
        int copies = Math.min(inputs.copies(format.bytes(T, D)), Math.max(1, V / T));
        var tokens = inputs.ints(
                IntStream.range(0, copies * T).map(i -> (int) (i * APART % V)).toArray());
        var token_T = IntStream.range(0, copies)
                .mapToObj(i -> tokens.rows((long) i * T, (i + 1L) * T))
                .toList();
        return new Call(List.of(y_TD), copies, i -> kernels.embed(y_TD, w_VD, token_T.get(i)));
    }
}
