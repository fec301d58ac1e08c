package org.panamoe.benchmarks;

import org.openjdk.jmh.annotations.Benchmark;
import org.openjdk.jmh.annotations.Param;
import org.panamoe.bench.kernel.KernelWork;
import org.panamoe.bench.kernel.MlaAttention;
import org.panamoe.tensor.DType;

/**
 * Attention of one decoded token for each request of a batch, over latents of 512 + 64 values in pages of 64, with the
 * heads of DeepSeek-V3 (128), Kimi K2 (64) or V2-Lite (16). With 16 heads a latent is used 32 times for each value that
 * is read, with 128 heads 256 times: bound by memory or by arithmetic. What does not fit into memory is refused.
 */
public class MlaAttentionBenchmark extends KernelBenchmark {
    @Param({"128", "64", "16"})
    public int heads = 128;

    /** Positions that each token sees. */
    @Param({"4096", "16384"})
    public int depth = 4096;

    @Param({"1", "8"})
    public int batch = 1;

    /** Of the latents: F32 or, on a device, BF16. */
    @Param("F32")
    public DType cache = DType.F32;

    @Override
    KernelWork work() {
        return new MlaAttention(cache, batch, heads, depth, 512, 64);
    }

    @Benchmark
    public void mlaAttention(Rates rates) {
        measure(rates);
    }
}
