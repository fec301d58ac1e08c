package org.panamoe.benchmarks;

import org.openjdk.jmh.annotations.Benchmark;
import org.panamoe.bench.kernel.KernelWork;
import org.panamoe.bench.kernel.LatentAppend;

/** The latents of so many rows of one request, normed and turned, into their pages. */
public class LatentAppendBenchmark extends ActivationBenchmark {
    @Override
    KernelWork work() {
        return LatentAppend.of(shape, rows);
    }

    @Benchmark
    public void latentAppend(Rates rates) {
        measure(rates);
    }
}
