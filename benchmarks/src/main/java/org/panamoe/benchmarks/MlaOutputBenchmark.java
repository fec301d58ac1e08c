package org.panamoe.benchmarks;

import org.openjdk.jmh.annotations.Benchmark;
import org.panamoe.bench.kernel.KernelWork;
import org.panamoe.bench.kernel.MlaOutput;

/** Values of so many tokens from the space of the latents: each head's with its own part of kv_b_proj. */
public class MlaOutputBenchmark extends ProjectionBenchmark {
    @Override
    KernelWork work() {
        return MlaOutput.of(shape, format, rows);
    }

    @Benchmark
    public void mlaOutput(Rates rates) {
        measure(rates);
    }
}
