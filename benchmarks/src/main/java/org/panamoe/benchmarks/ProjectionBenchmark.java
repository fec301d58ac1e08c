package org.panamoe.benchmarks;

import org.openjdk.jmh.annotations.Param;
import org.panamoe.bench.Shape;
import org.panamoe.tensor.QuantFormat;

/** A function whose time is that of one matrix: in the sizes of a published model, in every format. */
public abstract class ProjectionBenchmark extends KernelBenchmark {
    @Param("V3")
    public Shape shape = Shape.V3;

    @Param
    public QuantFormat format = QuantFormat.BF16;

    /** Up to 4096 are worth a look. */
    @Param({"1", "64"})
    public int rows = 1;
}
