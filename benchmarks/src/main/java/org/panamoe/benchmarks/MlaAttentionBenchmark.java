package org.panamoe.benchmarks;

import java.util.stream.IntStream;
import org.openjdk.jmh.annotations.Benchmark;
import org.openjdk.jmh.annotations.Param;
import org.panamoe.backend.LatentPages;
import org.panamoe.backend.Rows;
import org.panamoe.tensor.DType;
import org.panamoe.tensor.Tensor;

/**
 * Attention of one decoded token for each request of a batch, over latents of 512 + 64 values in pages of 64, with the
 * heads of DeepSeek-V3 (128), Kimi K2 (64) or V2-Lite (16). With 16 heads a latent is used 32 times for each value that
 * is read, with 128 heads 256 times: bound by memory or by arithmetic. What does not fit into memory is refused.
 */
@SuppressWarnings("NullAway.Init") // prepare sets them
public class MlaAttentionBenchmark extends KernelBenchmark {
    private static final int C = 512, R = 64, B = 64;

    /** 1 / sqrt(128 + 64), the width of a head's key before it is absorbed. */
    static final float SCALE = 0.07216878f;

    @Param({"128", "64", "16"})
    public int heads = 128;

    /** Positions that each token sees. */
    @Param({"1024", "4096", "16384"})
    public int depth = 1024;

    @Param({"1", "32", "128"})
    public int batch = 1;

    /** Of the latents: F32 or, on a device, BF16. */
    @Param("F32")
    public DType cache = DType.F32;

    Tensor o_THC;
    Tensor q_THX;
    LatentPages pages;
    Rows rows;

    /** A request's pages lie apart from each other, as they do when many requests grow at once. */
    @Override
    void prepare(Inputs inputs) {
        int M = Math.ceilDiv(depth, B);
        q_THX = inputs.activations(batch, heads, C + R);
        o_THC = inputs.result(DType.F32, batch, heads, C);
        pages = new LatentPages(inputs.latents(cache, (long) batch * M, B, C + R));
        int[] table_AM =
                IntStream.range(0, batch * M).map(i -> i % M * batch + i / M).toArray();
        int[] position_T = IntStream.generate(() -> depth - 1).limit(batch).toArray();
        rows = new Rows(
                inputs.ints(table_AM).as(batch, M),
                inputs.ints(IntStream.range(0, batch).toArray()),
                inputs.ints(position_T));
    }

    @Benchmark
    public void mlaAttention(Rates rates) {
        call(rates);
    }

    @Override
    void launch() {
        kernels.mlaAttention(o_THC, q_THX, pages, rows, SCALE);
    }

    /** Queries, results, and each latent that is seen once for all heads. */
    @Override
    double bytes() {
        return q_THX.bytes() + o_THC.bytes() + (double) batch * depth * (C + R) * cache.bytes;
    }

    /** Scores over C + R values, sums over C. */
    @Override
    double flops() {
        return 2.0 * batch * heads * depth * (C + R + C);
    }
}
