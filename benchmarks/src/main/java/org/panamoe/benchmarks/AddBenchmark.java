package org.panamoe.benchmarks;

import org.openjdk.jmh.annotations.Benchmark;
import org.panamoe.bench.kernel.Add;
import org.panamoe.bench.kernel.KernelWork;

/** The residual: bound by memory, or by the cache its rows lie in. */
public class AddBenchmark extends ActivationBenchmark {
    @Override
    KernelWork work() {
        return Add.of(shape, rows);
    }

    @Benchmark
    public void add(Rates rates) {
        measure(rates);
    }
}
