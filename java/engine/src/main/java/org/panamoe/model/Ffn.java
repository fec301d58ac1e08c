package org.panamoe.model;

import java.lang.foreign.Arena;
import org.panamoe.backend.ExpertTable;
import org.panamoe.backend.Kernels;
import org.panamoe.tensor.Tensor;

/** The feed-forward part of a layer: one gated unit, or routed experts beside a shared one. */
sealed interface Ffn {
    /** y += what this makes of x. */
    void addTo(Tensor y_TD, Tensor x_TD, Step step);

    static Ffn of(Weights weights, Kernels kernels, Workspace workspace, Arena arena, int layer) {
        var config = weights.config();
        String name = "model.layers." + layer + ".mlp.";
        if (!config.isMoe(layer)) return Dense.of(weights, kernels, workspace.dense_TF, name);
        return new Moe(
                new Gate(weights, kernels, workspace, layer),
                new Experts(weights, kernels, workspace, arena, layer),
                Dense.of(weights, kernels, workspace.shared_TF, name + "shared_experts."));
    }

    /** (silu(x Wg) * (x Wu)) Wd: one expert for all rows. */
    record Dense(Kernels kernels, Buffer hidden_TF, ExpertTable gate_FD, ExpertTable up_FD, ExpertTable down_DF)
            implements Ffn {
        static Dense of(Weights weights, Kernels kernels, Buffer hidden_TF, String name) {
            int D = weights.config().hiddenSize(), F = hidden_TF.width();
            return new Dense(
                    kernels,
                    hidden_TF,
                    weights.expert(name + "gate_proj.weight", F, D),
                    weights.expert(name + "up_proj.weight", F, D),
                    weights.expert(name + "down_proj.weight", D, F));
        }

        @Override
        public void addTo(Tensor y_TD, Tensor x_TD, Step step) {
            var hidden = hidden_TF.rows(step.T());
            kernels.groupedSwiglu(hidden, x_TD, gate_FD, up_FD, step.offset_11(), null);
            kernels.groupedCombine(y_TD, hidden, down_DF, step.offset_11(), null, null);
        }
    }

    /** DeepSeekMoE: every token passes the shared expert, unweighted, and its K routed ones, weighted by their shares. */
    record Moe(Gate gate, Experts routed, Dense shared) implements Ffn {
        @Override
        public void addTo(Tensor y_TD, Tensor x_TD, Step step) {
            shared.addTo(y_TD, x_TD, step);
            routed.addTo(y_TD, x_TD, gate.route(x_TD, step));
        }
    }
}
