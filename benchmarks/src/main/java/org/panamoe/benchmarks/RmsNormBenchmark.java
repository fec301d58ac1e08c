package org.panamoe.benchmarks;

import org.openjdk.jmh.annotations.Benchmark;
import org.panamoe.bench.kernel.KernelWork;
import org.panamoe.bench.kernel.RmsNorm;

/**
 * The norm before a layer's attention or experts, with a weight in BF16: bound by memory, or by the cache its rows lie
 * in.
 */
public class RmsNormBenchmark extends ActivationBenchmark {
    @Override
    KernelWork work() {
        return RmsNorm.of(shape, rows);
    }

    @Benchmark
    public void rmsNorm(Rates rates) {
        measure(rates);
    }
}
