package org.panamoe.benchmarks;

import org.openjdk.jmh.annotations.Benchmark;
import org.panamoe.bench.kernel.KernelWork;
import org.panamoe.bench.kernel.Swiglu;

/**
 * What comes out of gate and up of a routed expert: bound by the exponential while its rows are in a cache, by memory
 * beyond.
 */
public class SwigluBenchmark extends ActivationBenchmark {
    @Override
    KernelWork work() {
        return Swiglu.of(shape, rows);
    }

    @Benchmark
    public void swiglu(Rates rates) {
        measure(rates);
    }
}
