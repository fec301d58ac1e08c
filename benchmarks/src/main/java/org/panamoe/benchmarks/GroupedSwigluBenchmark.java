package org.panamoe.benchmarks;

import org.openjdk.jmh.annotations.Benchmark;
import org.panamoe.bench.kernel.GroupedSwiglu;
import org.panamoe.bench.kernel.KernelWork;

/** Gate, up and what joins them, of as many experts as a token chooses; {@code rows} tokens choose the same ones. */
public class GroupedSwigluBenchmark extends ProjectionBenchmark {
    @Override
    KernelWork work() {
        return GroupedSwiglu.of(shape, format, shape.config().numExpertsPerTok(), rows);
    }

    @Benchmark
    public void groupedSwiglu(Rates rates) {
        measure(rates);
    }
}
