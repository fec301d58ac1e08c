package org.panamoe.benchmarks;

import org.openjdk.jmh.annotations.Benchmark;
import org.panamoe.bench.kernel.GroupedCombine;
import org.panamoe.bench.kernel.KernelWork;

/** Down of as many experts as a token chooses, and their weighted sum; {@code rows} tokens choose the same ones. */
public class GroupedCombineBenchmark extends ProjectionBenchmark {
    @Override
    KernelWork work() {
        return GroupedCombine.of(shape, format, shape.config().numExpertsPerTok(), rows);
    }

    @Benchmark
    public void groupedCombine(Rates rates) {
        measure(rates);
    }
}
