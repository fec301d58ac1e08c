package org.panamoe.bench.kernel;

import java.util.List;
import java.util.stream.IntStream;
import org.panamoe.backend.Kernels;
import org.panamoe.backend.LatentPages;
import org.panamoe.backend.Rows;
import org.panamoe.bench.Shape;
import org.panamoe.tensor.DType;

/** The latents of T rows, which follow each other in one request. */
public record LatentAppend(int T, int C, int R) implements KernelWork {
    public static LatentAppend of(Shape shape, int T) {
        var c = shape.config();
        return new LatentAppend(T, c.kvLoraRank(), c.qkRopeHeadDim());
    }

    @Override
    public String function() {
        return "latent_append";
    }

    @Override
    public int rows() {
        return T;
    }

    @Override
    public String sizes() {
        return C + " + " + R;
    }

    /** What comes, what is written, cosines and sines, request and position; the norm's weight. */
    @Override
    public double bytes() {
        return (double) DType.F32.bytes * T * (2 * (C + R) + R + 2) + DType.BF16.bytes * C;
    }

    /** Four for each value that is normed, six for each pair that is turned. */
    @Override
    public double flops() {
        return (double) T * (4 * C + 3 * R);
    }

    @Override
    public Call prepare(Kernels kernels, Inputs inputs) {
        int M = Math.ceilDiv(T, MlaAttention.B);
        var pages = new LatentPages(inputs.activations(M, MlaAttention.B, C + R));
        var kv_TX = inputs.activations(T, C + R);
        var norm_C = inputs.norm(C);
        var rows = new Rows(
                inputs.ints(IntStream.range(0, M).toArray()).as(1, M),
                inputs.ints(new int[T]),
                inputs.ints(IntStream.range(0, T).toArray()));
        var rope = inputs.rope(T, R);
        return new Call(
                List.of(pages.pages_SBX()), () -> kernels.latentAppend(pages, kv_TX, norm_C, 1e-6f, rows, rope));
    }
}
