package org.panamoe.benchmarks;

import org.openjdk.jmh.annotations.Benchmark;
import org.openjdk.jmh.annotations.Param;
import org.panamoe.bench.kernel.Gemm;
import org.panamoe.bench.kernel.KernelWork;

/**
 * A projection of so many tokens, by default the shared expert's gate: 2048 x 7168 in DeepSeek-V3 and Kimi K2, 2816 x 2048
 * in V2-Lite. Bound by memory at one row, by arithmetic from about 64. {@link GemmBaselineBenchmark} has what others make of
 * it.
 */
public class GemmBenchmark extends ProjectionBenchmark {
    static final String DEFAULT_MATRIX = "shared_experts.gate_proj";

    /** The end of its name in the checkpoint: also o_proj, kv_a_proj_with_mqa, mlp.down_proj, lm_head, ... */
    @Param(DEFAULT_MATRIX)
    public String matrix = DEFAULT_MATRIX;

    @Override
    KernelWork work() {
        return Gemm.of(shape, matrix, format, rows);
    }

    @Benchmark
    public void gemm(Rates rates) {
        measure(rates);
    }
}
