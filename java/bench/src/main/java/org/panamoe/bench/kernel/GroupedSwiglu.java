package org.panamoe.bench.kernel;

import java.util.ArrayList;
import java.util.List;
import java.util.stream.IntStream;
import org.panamoe.backend.ExpertTable;
import org.panamoe.backend.Kernels;
import org.panamoe.bench.Shape;
import org.panamoe.tensor.DType;
import org.panamoe.tensor.QuantFormat;

/** Gate and up of E experts [F, D], each of which takes the same rows. */
public record GroupedSwiglu(QuantFormat format, int E, int rows, int D, int F) implements KernelWork {
    public static GroupedSwiglu of(Shape shape, QuantFormat format, int E, int rows) {
        var c = shape.config();
        return new GroupedSwiglu(format, E, rows, c.hiddenSize(), c.moeIntermediateSize());
    }

    @Override
    public String function() {
        return "grouped_swiglu";
    }

    @Override
    public String sizes() {
        return E + " x 2 x " + F + " x " + D;
    }

    @Override
    public boolean integer() {
        return format.integer();
    }

    @Override
    public long weightBytes() {
        return 2L * E * format.bytes(F, D);
    }

    @Override
    public double bytes() {
        return weightBytes() + (double) DType.F32.bytes * rows * (D + E * (F + 1));
    }

    /** Five for each value behind the products, see {@link Swiglu#flops}. */
    @Override
    public double flops() {
        return (double) E * rows * F * (4.0 * D + 5);
    }

    @Override
    public Call prepare(Kernels kernels, Inputs inputs) {
        int N = E * rows;
        var y_NF = inputs.result(DType.F32, N, F);
        var x_TD = inputs.activations(rows, D);
        var offset_E1 =
                inputs.ints(IntStream.rangeClosed(0, E).map(e -> e * rows).toArray());
        var token_N = inputs.ints(IntStream.range(0, N).map(n -> n % rows).toArray());
        var weights = inputs.weights(format, 2 * E, F, D);
        var tables = new ArrayList<ExpertTable>();
        for (int from = 0; from < weights.size(); from += E)
            tables.add(new ExpertTable(kernels, inputs.arena(), weights.subList(from, from + E)));
        return new Call(
                List.of(y_NF),
                tables.size() / 2,
                i -> kernels.groupedSwiglu(y_NF, x_TD, tables.get(2 * i), tables.get(2 * i + 1), offset_E1, token_N));
    }
}
