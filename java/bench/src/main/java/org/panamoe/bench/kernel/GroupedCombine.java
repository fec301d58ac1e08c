package org.panamoe.bench.kernel;

import java.util.ArrayList;
import java.util.List;
import java.util.stream.IntStream;
import org.panamoe.backend.ExpertTable;
import org.panamoe.backend.Kernels;
import org.panamoe.bench.Shape;
import org.panamoe.tensor.DType;
import org.panamoe.tensor.QuantFormat;

/** Down of E experts [D, F], each with as many rows, and their weighted sum. Call after call adds to the same y. */
public record GroupedCombine(QuantFormat format, int E, int rows, int D, int F) implements KernelWork {
    public static GroupedCombine of(Shape shape, QuantFormat format, int E, int rows) {
        var c = shape.config();
        return new GroupedCombine(format, E, rows, c.hiddenSize(), c.moeIntermediateSize());
    }

    @Override
    public String function() {
        return "grouped_combine";
    }

    @Override
    public String sizes() {
        return E + " x " + D + " x " + F;
    }

    @Override
    public boolean integer() {
        return format.integer();
    }

    @Override
    public long weightBytes() {
        return E * format.bytes(D, F);
    }

    @Override
    public double bytes() {
        return weightBytes() + (double) DType.F32.bytes * rows * (2.0 * D + E * (F + 2));
    }

    @Override
    public double flops() {
        return 2.0 * E * rows * D * (F + 1);
    }

    @Override
    public Call prepare(Kernels kernels, Inputs inputs) {
        int N = E * rows;
        var y_TD = inputs.activations(rows, D);
        var x_NF = inputs.activations(N, F);
        var offset_E1 =
                inputs.ints(IntStream.rangeClosed(0, E).map(e -> e * rows).toArray());
        var token_N = inputs.ints(IntStream.range(0, N).map(n -> n % rows).toArray());
        var weight_N = inputs.scores(N);
        var weights = inputs.weights(format, E, /* F= */ D, /* D= */ F);
        var tables = new ArrayList<ExpertTable>();
        for (int from = 0; from < weights.size(); from += E)
            tables.add(new ExpertTable(kernels, inputs.arena(), weights.subList(from, from + E)));
        return new Call(
                List.of(y_TD),
                tables.size(),
                i -> kernels.groupedCombine(y_TD, x_NF, tables.get(i), offset_E1, token_N, weight_N));
    }
}
