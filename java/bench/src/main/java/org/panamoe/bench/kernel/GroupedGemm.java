package org.panamoe.bench.kernel;

import java.util.ArrayList;
import java.util.List;
import java.util.stream.IntStream;
import org.panamoe.backend.ExpertTable;
import org.panamoe.backend.Kernels;
import org.panamoe.bench.Shape;
import org.panamoe.tensor.DType;
import org.panamoe.tensor.QuantFormat;

/** E experts [F, D], each with as many rows. */
public record GroupedGemm(QuantFormat format, int E, int rows, int D, int F) implements KernelWork {
    /** @param matrix of an expert: "gate_proj", "up_proj" or "down_proj" */
    public static GroupedGemm of(Shape shape, String matrix, QuantFormat format, int E, int rows) {
        var size = shape.matrix("experts.0." + matrix);
        return new GroupedGemm(format, E, rows, size.get(1), size.get(0));
    }

    @Override
    public String function() {
        return "grouped_gemm";
    }

    @Override
    public String sizes() {
        return E + " x " + F + " x " + D;
    }

    @Override
    public boolean integer() {
        return format.integer();
    }

    @Override
    public long weightBytes() {
        return E * format.bytes(F, D);
    }

    @Override
    public double bytes() {
        return weightBytes() + (double) DType.F32.bytes * E * rows * (D + F);
    }

    @Override
    public double flops() {
        return 2.0 * E * rows * D * F;
    }

    @Override
    public Call prepare(Kernels kernels, Inputs inputs) {
        long N = (long) E * rows;
        var y_NF = inputs.result(DType.F32, N, F);
        var x_ND = inputs.activations(N, D);
        var offset_E1 =
                inputs.ints(IntStream.rangeClosed(0, E).map(e -> e * rows).toArray());
        var weights = inputs.weights(format, E, F, D);
        var tables = new ArrayList<ExpertTable>();
        for (int from = 0; from < weights.size(); from += E)
            tables.add(new ExpertTable(kernels, inputs.arena(), weights.subList(from, from + E)));
        return new Call(List.of(y_NF), tables.size(), i -> kernels.groupedGemm(y_NF, x_ND, tables.get(i), offset_E1));
    }
}
