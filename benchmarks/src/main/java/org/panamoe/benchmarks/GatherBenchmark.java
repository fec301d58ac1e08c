package org.panamoe.benchmarks;

import org.openjdk.jmh.annotations.Benchmark;
import org.panamoe.bench.kernel.Gather;
import org.panamoe.bench.kernel.KernelWork;

/** Each token to the experts it has chosen, for so many tokens: bound by memory. */
public class GatherBenchmark extends ActivationBenchmark {
    @Override
    KernelWork work() {
        return Gather.of(shape, rows);
    }

    @Benchmark
    public void gather(Rates rates) {
        measure(rates);
    }
}
