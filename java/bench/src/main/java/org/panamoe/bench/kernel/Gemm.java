package org.panamoe.bench.kernel;

import java.util.List;
import org.panamoe.backend.Kernels;
import org.panamoe.bench.Shape;
import org.panamoe.tensor.DType;
import org.panamoe.tensor.QuantFormat;
import org.panamoe.tensor.Tensor;
import org.panamoe.tensor.Weight;

/** A projection [F, D] of T rows. */
public record Gemm(QuantFormat format, int T, int D, int F) implements KernelWork {
    /** @param matrix the end of a name in the checkpoint: "o_proj", "shared_experts.gate_proj", "lm_head" */
    public static Gemm of(Shape shape, String matrix, QuantFormat format, int T) {
        var size = shape.matrix(matrix);
        return new Gemm(format, T, size.get(1), size.get(0));
    }

    @Override
    public String function() {
        return "gemm";
    }

    @Override
    public int rows() {
        return T;
    }

    @Override
    public String sizes() {
        return F + " x " + D;
    }

    @Override
    public boolean integer() {
        return format.integer();
    }

    @Override
    public long weightBytes() {
        return format.bytes(F, D);
    }

    @Override
    public double bytes() {
        return weightBytes() + (double) DType.F32.bytes * T * (D + F);
    }

    @Override
    public double flops() {
        return 2.0 * T * D * F;
    }

    /** Who multiplies: the back end, or someone to compare it with. */
    @FunctionalInterface
    public interface Product {
        void gemm(Tensor y_TF, Tensor x_TD, Weight w_FD);
    }

    @Override
    public Call prepare(Kernels kernels, Inputs inputs) {
        return prepare(inputs, kernels::gemm);
    }

    public Call prepare(Inputs inputs, Product product) {
        var y_TF = inputs.result(DType.F32, T, F);
        var x_TD = inputs.activations(T, D);
        var weights = inputs.weights(format, 1, F, D);
        return new Call(List.of(y_TF), weights.size(), i -> product.gemm(y_TF, x_TD, weights.get(i)));
    }
}
