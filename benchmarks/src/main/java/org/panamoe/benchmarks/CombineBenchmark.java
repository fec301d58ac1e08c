package org.panamoe.benchmarks;

import org.openjdk.jmh.annotations.Benchmark;
import org.panamoe.bench.kernel.Combine;
import org.panamoe.bench.kernel.KernelWork;

/** What the chosen experts say of each of so many tokens, by their weights: bound by memory. */
public class CombineBenchmark extends ActivationBenchmark {
    @Override
    KernelWork work() {
        return Combine.of(shape, rows);
    }

    @Benchmark
    public void combine(Rates rates) {
        measure(rates);
    }
}
