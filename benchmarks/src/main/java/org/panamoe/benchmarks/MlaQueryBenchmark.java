package org.panamoe.benchmarks;

import org.openjdk.jmh.annotations.Benchmark;
import org.panamoe.bench.kernel.KernelWork;
import org.panamoe.bench.kernel.MlaQuery;

/** Absorbed queries of so many tokens: each head's with its own part of kv_b_proj. */
public class MlaQueryBenchmark extends ProjectionBenchmark {
    @Override
    KernelWork work() {
        return MlaQuery.of(shape, format, rows);
    }

    @Benchmark
    public void mlaQuery(Rates rates) {
        measure(rates);
    }
}
