package org.panamoe.model;

import org.panamoe.backend.Kernels;
import org.panamoe.backend.Routes;
import org.panamoe.checkpoint.ModelConfig;
import org.panamoe.tensor.Tensor;
import org.panamoe.tensor.Weight;

/** Scores the experts for every row and lets the {@link Router} choose: the only way back up from the back end. */
final class Gate {
    private final ModelConfig config;
    private final Kernels kernels;
    private final Workspace workspace;
    private final int layer;
    private final Weight gate_ED;
    private final Router router;
    private final Tensor bias_E;

    Gate(Weights weights, Kernels kernels, Workspace workspace, int layer) {
        config = weights.config();
        this.kernels = kernels;
        this.workspace = workspace;
        this.layer = layer;
        String name = "model.layers." + layer + ".mlp.gate.";
        gate_ED = weights.weight(name + "weight", config.nRoutedExperts(), config.hiddenSize());
        router = new Router(config, bias(weights, name + "e_score_correction_bias"));
        bias_E = weights.values(router.bias());
    }

    /** On the host by Java's {@link Router}; on a device by its twin in the back end, so that nobody waits. */
    Routes route(Tensor x_TD, Step step) {
        int T = step.T();
        var score_TE = workspace.score_TE.rows(T);
        kernels.gemm(score_TE, x_TD, gate_ED);
        var routes = workspace.routes(T);
        if (kernels.onDevice()) {
            kernels.score(score_TE, router.scoring);
            kernels.route(routes, score_TE, bias_E, router.rule);
            if (step.observer().looks())
                step.observer()
                        .routed(
                                layer,
                                T,
                                workspace.score_TE.floats(T),
                                workspace.expert_TK.ints(T),
                                workspace.share_TK.floats(T));
        } else {
            routeHere(T, step);
        }
        return routes;
    }

    private void routeHere(int T, Step step) {
        var here = workspace.hostRouting(T);
        int E = here.score_E.length, K = here.expert_K.length;
        workspace.score_TE.read(T, here.score_TE);
        for (int t = 0; t < T; t++) {
            System.arraycopy(here.score_TE, t * E, here.score_E, 0, E);
            router.score(here.score_E);
            System.arraycopy(here.score_E, 0, here.score_TE, t * E, E);
            router.route(here.score_E, here.expert_K, here.share_K);
            System.arraycopy(here.expert_K, 0, here.expert_TK, t * K, K);
            System.arraycopy(here.share_K, 0, here.share_TK, t * K, K);
        }
        step.observer().routed(layer, T, here.score_TE, here.expert_TK, here.share_TK);
        here.sorted.sort(here.expert_TK, here.share_TK);
        workspace.offset_E1.fill(E + 1, here.sorted.offset_E1);
        workspace.token_N.fill(T * K, here.sorted.token_N);
        workspace.weight_N.fill(T * K, here.sorted.weight_N);
    }

    Router router() {
        return router;
    }

    /** Published checkpoints keep the bias in F32; some copies have rounded it to BF16. */
    private static float[] floats(Tensor values) {
        float[] array = new float[Math.toIntExact(values.size())];
        for (int i = 0; i < array.length; i++)
            array[i] = switch (values.dtype) {
                case F32, BF16 -> values.getFloat(i);
                case F8_E4M3, F16, I32, I64, U8, I8 -> throw new IllegalArgumentException("a router bias is " + values);
            };
        return array;
    }

    private float[] bias(Weights weights, String name) {
        return switch (config.topkMethod()) {
            case NOAUX_TC -> floats(weights.tensor(name, config.nRoutedExperts()));
            case GREEDY, GROUP_LIMITED_GREEDY -> new float[config.nRoutedExperts()];
        };
    }
}
