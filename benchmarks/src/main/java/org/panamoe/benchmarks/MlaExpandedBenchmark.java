package org.panamoe.benchmarks;

import org.openjdk.jmh.annotations.Benchmark;
import org.openjdk.jmh.annotations.Param;
import org.panamoe.bench.Shape;
import org.panamoe.bench.kernel.KernelWork;
import org.panamoe.bench.kernel.MlaExpanded;
import org.panamoe.tensor.QuantFormat;

/** Attention of rows of a prompt behind other positions of it, with keys and values expanded. */
public class MlaExpandedBenchmark extends KernelBenchmark {
    @Param("V3")
    public Shape shape = Shape.V3;

    /** Of kv_b_proj. */
    @Param("BF16")
    public QuantFormat format = QuantFormat.BF16;

    @Param("512")
    public int rows = 512;

    /** Positions before the first row. */
    @Param({"0", "4096"})
    public int depth = 4096;

    @Override
    KernelWork work() {
        return MlaExpanded.of(shape, format, rows, depth);
    }

    @Benchmark
    public void mlaExpanded(Rates rates) {
        measure(rates);
    }
}
