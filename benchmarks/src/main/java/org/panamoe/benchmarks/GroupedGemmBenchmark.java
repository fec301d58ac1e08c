package org.panamoe.benchmarks;

import java.util.ArrayList;
import java.util.stream.IntStream;
import org.openjdk.jmh.annotations.Benchmark;
import org.openjdk.jmh.annotations.Param;
import org.panamoe.backend.ExpertTable;
import org.panamoe.tensor.DType;
import org.panamoe.tensor.QuantFormat;
import org.panamoe.tensor.Tensor;
import org.panamoe.tensor.Weight;

/**
 * Experts of DeepSeek-V3, by default the eight that one token chooses: matrices of 2048 x 7168 (gate, up) or 7168 x 2048
 * (down), each with as many rows as {@code rows} says. Bound by memory at one row, by arithmetic at 64.
 */
@SuppressWarnings("NullAway.Init") // prepare sets them
public class GroupedGemmBenchmark extends KernelBenchmark {
    @Param
    public QuantFormat format = QuantFormat.BF16;

    @Param("8")
    public int experts = 8;

    /** Rows of each expert. */
    @Param({"1", "8", "64"})
    public int rows = 1;

    /** F x D of each expert. */
    @Param({"2048x7168", "7168x2048"})
    public String expert = "2048x7168";

    Tensor y_NF;
    Tensor x_ND;
    ExpertTable w_E;
    Tensor offset_E1;

    @Override
    void prepare(Inputs inputs) {
        int F = Integer.parseInt(expert.substring(0, expert.indexOf('x')));
        int D = Integer.parseInt(expert.substring(expert.indexOf('x') + 1));
        var weights = new ArrayList<Weight>();
        for (int e = 0; e < experts; e++) weights.add(inputs.weight(format, F, D));
        w_E = new ExpertTable(kernels, arena, weights);
        long N = (long) experts * rows;
        x_ND = inputs.activations(N, D);
        y_NF = inputs.result(DType.F32, N, F);
        offset_E1 =
                inputs.ints(IntStream.rangeClosed(0, experts).map(e -> e * rows).toArray());
    }

    @Benchmark
    public void groupedGemm(Rates rates) {
        call(rates);
    }

    @Override
    void launch() {
        kernels.groupedGemm(y_NF, x_ND, w_E, offset_E1);
    }

    /** Weights, scales, x and y. */
    @Override
    double bytes() {
        return x_ND.bytes()
                + y_NF.bytes()
                + w_E.w_E.stream().mapToLong(Weight::bytes).sum();
    }

    @Override
    boolean integer() {
        return format.integer();
    }

    @Override
    double flops() {
        return 2.0 * x_ND.dim(0) * w_E.F() * w_E.D();
    }
}
