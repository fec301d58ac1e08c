package org.panamoe.model;

import org.panamoe.backend.Kernels;
import org.panamoe.tensor.Tensor;
import org.panamoe.tensor.Weight;

/** The feed-forward part of a layer: one gated unit, or routed experts beside a shared one. */
sealed interface Ffn {
    void forward(Tensor y_TD, Tensor x_TD, Step step);

    static Ffn of(Weights weights, Kernels kernels, Workspace workspace, java.lang.foreign.Arena arena, int layer) {
        var config = weights.config();
        String name = "model.layers." + layer + ".mlp.";
        if (!config.isMoe(layer)) return Dense.of(weights, kernels, workspace, name, config.intermediateSize());
        int sharedWidth = config.nSharedExperts() * config.moeIntermediateSize();
        return new Moe(
                new Gate(weights, kernels, workspace, layer),
                new Experts(weights, kernels, workspace, arena, layer),
                Dense.of(weights, kernels, workspace, name + "shared_experts.", sharedWidth));
    }

    /** (silu(x Wg) * (x Wu)) Wd. */
    record Dense(Kernels kernels, Workspace workspace, Weight gate_FD, Weight up_FD, Weight down_DF) implements Ffn {
        static Dense of(Weights weights, Kernels kernels, Workspace workspace, String name, int F) {
            int D = weights.config().hiddenSize();
            return new Dense(
                    kernels,
                    workspace,
                    weights.weight(name + "gate_proj.weight", F, D),
                    weights.weight(name + "up_proj.weight", F, D),
                    weights.weight(name + "down_proj.weight", D, F));
        }

        @Override
        public void forward(Tensor y_TD, Tensor x_TD, Step step) {
            int T = step.T(), F = gate_FD.data().dim(0);
            var gate_TF = workspace.gate_TF.rows(T, F);
            var up_TF = workspace.up_TF.rows(T, F);
            kernels.gemm(gate_TF, x_TD, gate_FD);
            kernels.gemm(up_TF, x_TD, up_FD);
            kernels.swiglu(gate_TF, gate_TF, up_TF);
            kernels.gemm(y_TD, gate_TF, down_DF);
        }
    }

    /** DeepSeekMoE: every token passes the shared expert, unweighted, and its K routed ones, weighted by their shares. */
    record Moe(Gate gate, Experts routed, Dense shared) implements Ffn {
        @Override
        public void forward(Tensor y_TD, Tensor x_TD, Step step) {
            shared.forward(y_TD, x_TD, step);
            routed.addTo(y_TD, x_TD, gate.route(x_TD, step));
        }
    }
}
