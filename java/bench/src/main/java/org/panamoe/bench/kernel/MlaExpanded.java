package org.panamoe.bench.kernel;

import java.util.List;
import java.util.stream.IntStream;
import org.panamoe.backend.Kernels;
import org.panamoe.backend.LatentPages;
import org.panamoe.backend.Rows;
import org.panamoe.bench.Shape;
import org.panamoe.tensor.DType;
import org.panamoe.tensor.QuantFormat;

/**
 * T rows of a prompt, whose keys and values are expanded.
 *
 * @param format of kv_b_proj
 * @param depth positions before the first row
 */
public record MlaExpanded(QuantFormat format, int T, int depth, int H, int P, int U, int C, int R)
        implements KernelWork {
    private static final int B = MlaAttention.B;

    public static MlaExpanded of(Shape shape, QuantFormat format, int T, int depth) {
        var c = shape.config();
        return new MlaExpanded(
                format,
                T,
                depth,
                c.numAttentionHeads(),
                c.qkNopeHeadDim(),
                c.vHeadDim(),
                c.kvLoraRank(),
                c.qkRopeHeadDim());
    }

    @Override
    public String function() {
        return "mla_expanded";
    }

    @Override
    public int rows() {
        return T;
    }

    @Override
    public String sizes() {
        return "%d heads x %d + %d + %d".formatted(H, P, R, U);
    }

    @Override
    public long weightBytes() {
        return format.bytes((long) H * (P + U), C);
    }

    /** Each latent once; queries, results, and for each row its position and the cosines and sines of its pairs. */
    @Override
    public double bytes() {
        return weightBytes()
                + (double) DType.F32.bytes * (depth + T) * (C + R)
                + (double) DType.F32.bytes * T * (H * (P + R + U) + R + 1);
    }

    /** Keys and values of every position; scores and sums of every row over what it sees; six for a pair that is turned. */
    @Override
    public double flops() {
        double seen = (double) T * depth + T * (T + 1) / 2.0;
        return H * (2.0 * (depth + T) * (P + U) * C + 2 * seen * (P + R + U) + 3.0 * T * R);
    }

    @Override
    public Call prepare(Kernels kernels, Inputs inputs) {
        int S = depth + T, M = Math.ceilDiv(S, B);
        var o_THU = inputs.result(DType.F32, T, H, U);
        var q_THPR = inputs.activations(T, H, P + R);
        var pages = new LatentPages(inputs.latents(DType.F32, M, B, C + R).getFirst());
        var rows = new Rows(
                inputs.ints(IntStream.range(0, M).toArray()).as(1, M),
                inputs.ints(new int[T]),
                inputs.ints(IntStream.range(depth, S).toArray()));
        var rope = inputs.rope(S, R);
        var weights = inputs.weights(format, 1, H * (P + U), C);
        return new Call(
                List.of(o_THU),
                weights.size(),
                i -> kernels.mlaExpanded(o_THU, q_THPR, pages, weights.get(i), rows, rope, MlaAttention.SCALE));
    }
}
