package org.panamoe.benchmarks;

import org.openjdk.jmh.annotations.Benchmark;
import org.panamoe.bench.kernel.Embed;
import org.panamoe.bench.kernel.KernelWork;

/**
 * Rows of an embedding in BF16, others in each call if caches are cold: bound by the latency of memory, then by
 * memory.
 */
public class EmbedBenchmark extends ActivationBenchmark {
    @Override
    KernelWork work() {
        return Embed.of(shape, rows);
    }

    @Benchmark
    public void embed(Rates rates) {
        measure(rates);
    }
}
