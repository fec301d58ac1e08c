package org.panamoe.model;

import java.lang.foreign.Arena;
import java.util.stream.IntStream;
import org.panamoe.backend.ExpertTable;
import org.panamoe.backend.Kernels;
import org.panamoe.checkpoint.Checkpoint;
import org.panamoe.tensor.Tensor;

/** The routed experts of one layer. */
final class Experts {
    private final Kernels kernels;
    private final Workspace workspace;
    private final ExpertTable gate_E;
    private final ExpertTable up_E;
    private final ExpertTable down_E;

    Experts(Checkpoint checkpoint, Kernels kernels, Workspace workspace, Arena arena, int layer) {
        this.kernels = kernels;
        this.workspace = workspace;
        int D = checkpoint.config().hiddenSize(), F = checkpoint.config().moeIntermediateSize();
        gate_E = table(checkpoint, arena, layer, "gate_proj", F, D);
        up_E = table(checkpoint, arena, layer, "up_proj", F, D);
        down_E = table(checkpoint, arena, layer, "down_proj", D, F);
    }

    /** y[t] += the sum over the experts of token t of share * (silu(x Wg) * (x Wu)) Wd. */
    void addTo(Tensor y_TD, Tensor x_TD, Routing routing) {
        int N = routing.token_N().dim(0);
        var x_ND = workspace.x_ND.rows(N);
        var gate_NF = workspace.gate_NF.rows(N);
        var up_NF = workspace.up_NF.rows(N);
        var y_ND = workspace.y_ND.rows(N);
        kernels.gather(x_ND, x_TD, routing.token_N());
        kernels.groupedGemm(gate_NF, x_ND, gate_E, routing.offset_E1());
        kernels.groupedGemm(up_NF, x_ND, up_E, routing.offset_E1());
        kernels.swiglu(gate_NF, gate_NF, up_NF);
        kernels.groupedGemm(y_ND, gate_NF, down_E, routing.offset_E1());
        kernels.combine(y_TD, y_ND, routing.token_N(), routing.weight_N());
    }

    private ExpertTable table(Checkpoint checkpoint, Arena arena, int layer, String matrix, int F, int D) {
        var w_E = IntStream.range(0, checkpoint.config().nRoutedExperts())
                .mapToObj(e ->
                        checkpoint.weight("model.layers.%d.mlp.experts.%d.%s.weight".formatted(layer, e, matrix), F, D))
                .toList();
        return new ExpertTable(kernels, arena, w_E);
    }
}
