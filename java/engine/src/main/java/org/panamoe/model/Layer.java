package org.panamoe.model;

import java.lang.foreign.Arena;
import org.panamoe.backend.Kernels;
import org.panamoe.tensor.Tensor;
import org.panamoe.tensor.Weight;

/** One decoder layer: x += attention(norm(x)); x += ffn(norm(x)). */
final class Layer {
    private final Kernels kernels;
    private final Workspace workspace;
    private final int index;
    private final float eps;
    private final Weight attentionNorm_D;
    private final MlaAttention attention;
    private final Weight ffnNorm_D;
    final Ffn ffn;

    Layer(Weights weights, Kernels kernels, Workspace workspace, Arena arena, int index) {
        this.kernels = kernels;
        this.workspace = workspace;
        this.index = index;
        int D = weights.config().hiddenSize();
        eps = weights.config().rmsNormEps();
        String name = "model.layers." + index + ".";
        attentionNorm_D = weights.weight(name + "input_layernorm.weight", D);
        attention = new MlaAttention(weights, kernels, workspace, index);
        ffnNorm_D = weights.weight(name + "post_attention_layernorm.weight", D);
        ffn = Ffn.of(weights, kernels, workspace, arena, index);
    }

    void forward(Tensor x_TD, Step step) {
        var normed_TD = workspace.normed_TD.rows(step.T());
        step.observer().residual(index, x_TD);
        kernels.rmsNorm(normed_TD, x_TD, attentionNorm_D, eps);
        attention.addTo(x_TD, normed_TD, step);
        step.observer().afterAttention(index, x_TD);
        kernels.rmsNorm(normed_TD, x_TD, ffnNorm_D, eps);
        ffn.addTo(x_TD, normed_TD, step);
        step.observer().afterFeedForward(index, x_TD);
    }
}
