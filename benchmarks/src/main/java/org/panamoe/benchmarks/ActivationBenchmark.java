package org.panamoe.benchmarks;

import org.openjdk.jmh.annotations.Param;
import org.panamoe.bench.Shape;

/** A function that reads activations, and of weights at most a row for each: in the sizes of a published model. */
public abstract class ActivationBenchmark extends KernelBenchmark {
    @Param
    public Shape shape = Shape.V3;

    @Param({"1", "64", "4096"})
    public int rows = 1;
}
