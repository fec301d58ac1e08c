package org.panamoe.benchmarks;

import org.openjdk.jmh.annotations.Benchmark;
import org.panamoe.bench.kernel.Argmax;
import org.panamoe.bench.kernel.KernelWork;

/** The greedy token of so many rows of logits: bound by memory, or by the cache they lie in. */
public class ArgmaxBenchmark extends ActivationBenchmark {
    @Override
    KernelWork work() {
        return Argmax.of(shape, rows);
    }

    @Benchmark
    public void argmax(Rates rates) {
        measure(rates);
    }
}
