package org.panamoe.benchmarks;

import org.openjdk.jmh.annotations.Benchmark;
import org.openjdk.jmh.annotations.Param;
import org.panamoe.bench.Shape;
import org.panamoe.bench.kernel.KernelWork;
import org.panamoe.bench.kernel.Route;

/** From scores to rows sorted by expert, for one MoE layer: bound by latency for a token, by memory for thousands. */
public class RouteBenchmark extends KernelBenchmark {
    /** Whose experts are chosen, and how. */
    @Param
    public Shape rule = Shape.V3;

    @Param({"1", "256", "4096"})
    public int tokens = 1;

    @Override
    KernelWork work() {
        return Route.of(rule, tokens);
    }

    @Benchmark
    public void route(Rates rates) {
        measure(rates);
    }
}
