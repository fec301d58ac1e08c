package org.panamoe.bench.kernel;

import java.util.List;
import java.util.stream.IntStream;
import org.panamoe.backend.Kernels;
import org.panamoe.bench.Shape;
import org.panamoe.tensor.DType;
import org.panamoe.tensor.QuantFormat;

/** Queries of T rows in the space of the latents. */
public record MlaQuery(QuantFormat format, int T, int H, int P, int U, int C, int R) implements KernelWork {
    public static MlaQuery of(Shape shape, QuantFormat format, int T) {
        var c = shape.config();
        return new MlaQuery(
                format, T, c.numAttentionHeads(), c.qkNopeHeadDim(), c.vHeadDim(), c.kvLoraRank(), c.qkRopeHeadDim());
    }

    @Override
    public String function() {
        return "mla_query";
    }

    @Override
    public int rows() {
        return T;
    }

    @Override
    public String sizes() {
        return "%d heads x %d x %d".formatted(H, C, P);
    }

    @Override
    public long weightBytes() {
        return format.bytes((long) H * (P + U), C);
    }

    /** Of kv_b_proj the keys' rows alone; a cosine and a sine for each row's pairs. */
    @Override
    public double bytes() {
        return format.bytes((long) H * P, C) + (double) DType.F32.bytes * T * (H * (P + R) + H * (C + R) + R + 1);
    }

    /** Six for each pair that is turned. */
    @Override
    public double flops() {
        return (double) T * H * (2.0 * P * C + 3 * R);
    }

    @Override
    public Call prepare(Kernels kernels, Inputs inputs) {
        var q_THX = inputs.result(DType.F32, T, H, C + R);
        var q_THPR = inputs.activations(T, H, P + R);
        var position_T = inputs.ints(IntStream.range(0, T).toArray());
        var rope = inputs.rope(T, R);
        var weights = inputs.weights(format, 1, H * (P + U), C);
        return new Call(
                List.of(q_THX), weights.size(), i -> kernels.mlaQuery(q_THX, q_THPR, weights.get(i), position_T, rope));
    }
}
