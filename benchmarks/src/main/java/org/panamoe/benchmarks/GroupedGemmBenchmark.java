package org.panamoe.benchmarks;

import org.openjdk.jmh.annotations.Benchmark;
import org.openjdk.jmh.annotations.Param;
import org.panamoe.bench.kernel.GroupedGemm;
import org.panamoe.bench.kernel.KernelWork;
import org.panamoe.tensor.QuantFormat;

/**
 * Experts of DeepSeek-V3 and Kimi K2, by default the eight that one token chooses: matrices of 2048 x 7168 (gate, up) or
 * 7168 x 2048 (down), each with as many rows as {@code rows} says. Bound by memory at one row, by arithmetic at 64.
 */
public class GroupedGemmBenchmark extends KernelBenchmark {
    @Param
    public QuantFormat format = QuantFormat.BF16;

    @Param("8")
    public int experts = 8;

    /** Rows of each expert. */
    @Param({"1", "8", "64"})
    public int rows = 1;

    /** F x D of each expert: 2048x7168 or 7168x2048, in V2-Lite 1408x2048 or 2048x1408. */
    @Param("2048x7168")
    public String expert = "2048x7168";

    @Override
    KernelWork work() {
        int F = Integer.parseInt(expert.substring(0, expert.indexOf('x')));
        int D = Integer.parseInt(expert.substring(expert.indexOf('x') + 1));
        return new GroupedGemm(format, experts, rows, D, F);
    }

    @Benchmark
    public void groupedGemm(Rates rates) {
        measure(rates);
    }
}
