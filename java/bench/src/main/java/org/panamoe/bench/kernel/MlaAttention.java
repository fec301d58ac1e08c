package org.panamoe.bench.kernel;

import java.util.List;
import java.util.stream.IntStream;
import org.panamoe.backend.Kernels;
import org.panamoe.backend.LatentPages;
import org.panamoe.backend.Rows;
import org.panamoe.bench.Shape;
import org.panamoe.tensor.DType;

/**
 * Attention of one decoded token for each request of a batch. A request's pages lie apart from each other, as they do when
 * many requests grow at once.
 *
 * @param cache how a latent is stored: F32 or, on a device, BF16
 * @param depth positions that each token sees
 */
public record MlaAttention(DType cache, int batch, int H, int depth, int C, int R) implements KernelWork {
    static final int B = 64;

    /** 1 / sqrt(128 + 64), the width of a head's key before it is absorbed. */
    public static final float SCALE = 0.07216878f;

    public static MlaAttention of(Shape shape, DType cache, int batch, int depth) {
        var c = shape.config();
        return new MlaAttention(cache, batch, c.numAttentionHeads(), depth, c.kvLoraRank(), c.qkRopeHeadDim());
    }

    @Override
    public String function() {
        return "mla_attention";
    }

    @Override
    public int rows() {
        return batch;
    }

    @Override
    public String sizes() {
        return "%d heads x %d + %d".formatted(H, C, R);
    }

    @Override
    public long weightBytes() {
        return (long) batch * Math.ceilDiv(depth, B) * B * (C + R) * cache.bytes;
    }

    /** Queries, results, and each latent that is seen once for all heads. */
    @Override
    public double bytes() {
        return (double) batch * depth * (C + R) * cache.bytes + (double) DType.F32.bytes * batch * H * (C + R + C);
    }

    /** Scores over C + R values, sums over C. */
    @Override
    public double flops() {
        return 2.0 * batch * H * depth * (C + R + C);
    }

    @Override
    public Call prepare(Kernels kernels, Inputs inputs) {
        int M = Math.ceilDiv(depth, B);
        var o_THC = inputs.result(DType.F32, batch, H, C);
        var q_THX = inputs.activations(batch, H, C + R);
        var pages = inputs.latents(cache, (long) batch * M, B, C + R).stream()
                .map(LatentPages::new)
                .toList();
        int[] table_AM =
                IntStream.range(0, batch * M).map(i -> i % M * batch + i / M).toArray();
        int[] position_T = IntStream.generate(() -> depth - 1).limit(batch).toArray();
        var rows = new Rows(
                inputs.ints(table_AM).as(batch, M),
                inputs.ints(IntStream.range(0, batch).toArray()),
                inputs.ints(position_T));
        return new Call(
                List.of(o_THC), pages.size(), i -> kernels.mlaAttention(o_THC, q_THX, pages.get(i), rows, SCALE));
    }
}
