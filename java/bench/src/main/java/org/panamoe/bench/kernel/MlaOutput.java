package org.panamoe.bench.kernel;

import java.util.List;
import org.panamoe.backend.Kernels;
import org.panamoe.bench.Shape;
import org.panamoe.tensor.DType;
import org.panamoe.tensor.QuantFormat;

/** Values of T rows from the space of the latents. */
public record MlaOutput(QuantFormat format, int T, int H, int P, int U, int C) implements KernelWork {
    public static MlaOutput of(Shape shape, QuantFormat format, int T) {
        var c = shape.config();
        return new MlaOutput(format, T, c.numAttentionHeads(), c.qkNopeHeadDim(), c.vHeadDim(), c.kvLoraRank());
    }

    @Override
    public String function() {
        return "mla_output";
    }

    @Override
    public int rows() {
        return T;
    }

    @Override
    public String sizes() {
        return "%d heads x %d x %d".formatted(H, U, C);
    }

    @Override
    public long weightBytes() {
        return format.bytes((long) H * (P + U), C);
    }

    /** Of kv_b_proj the values' rows alone. */
    @Override
    public double bytes() {
        return format.bytes((long) H * U, C) + (double) DType.F32.bytes * T * H * (C + U);
    }

    @Override
    public double flops() {
        return 2.0 * T * H * U * C;
    }

    @Override
    public Call prepare(Kernels kernels, Inputs inputs) {
        var o_THU = inputs.result(DType.F32, T, H, U);
        var o_THC = inputs.activations(T, H, C);
        var weights = inputs.weights(format, 1, H * (P + U), C);
        return new Call(List.of(o_THU), weights.size(), i -> kernels.mlaOutput(o_THU, o_THC, weights.get(i)));
    }
}
