package org.panamoe.model;

import java.lang.foreign.Arena;
import java.util.stream.IntStream;
import org.panamoe.backend.ExpertTable;
import org.panamoe.backend.Kernels;
import org.panamoe.backend.Routes;
import org.panamoe.tensor.Tensor;

/** The routed experts of one layer. */
final class Experts {
    private final Kernels kernels;
    private final Workspace workspace;
    private final ExpertTable gate_E;
    private final ExpertTable up_E;
    private final ExpertTable down_E;

    Experts(Weights weights, Kernels kernels, Workspace workspace, Arena arena, int layer) {
        this.kernels = kernels;
        this.workspace = workspace;
        int D = weights.config().hiddenSize(), F = weights.config().moeIntermediateSize();
        gate_E = table(weights, arena, layer, "gate_proj", F, D);
        up_E = table(weights, arena, layer, "up_proj", F, D);
        down_E = table(weights, arena, layer, "down_proj", D, F);
    }

    /** y[t] += the sum over the experts of token t of share * (silu(x Wg) * (x Wu)) Wd. */
    void addTo(Tensor y_TD, Tensor x_TD, Routes routes) {
        var hidden_NF = workspace.hidden_NF.rows(routes.token_N().dim(0));
        kernels.groupedSwiglu(hidden_NF, x_TD, gate_E, up_E, routes.offset_E1(), routes.token_N());
        kernels.groupedCombine(y_TD, hidden_NF, down_E, routes.offset_E1(), routes.token_N(), routes.weight_N());
    }

    private ExpertTable table(Weights weights, Arena arena, int layer, String matrix, int F, int D) {
        String name = "model.layers." + layer + ".mlp.experts.";
        var w_E = IntStream.range(0, weights.config().nRoutedExperts())
                .mapToObj(e -> weights.weight(name + e + "." + matrix + ".weight", F, D))
                .toList();
        return new ExpertTable(kernels, arena, w_E);
    }
}
