package org.panamoe.model;

import static java.lang.foreign.ValueLayout.JAVA_SHORT_UNALIGNED;

import org.panamoe.backend.Kernels;
import org.panamoe.backend.Routes;
import org.panamoe.backend.SortedByExpert;
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
        int T = step.T(), K = router.rule.chosen();
        var score_TE = workspace.score_TE.rows(T);
        kernels.gemm(score_TE, x_TD, gate_ED);
        var routes = workspace.routes(T, K);
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
            routeHere(T, K, step);
        }
        return routes;
    }

    private void routeHere(int T, int K, Step step) {
        int E = router.rule.experts();
        float[] score_TE = workspace.score_TE.floats(T);
        int[] expert_TK = new int[T * K];
        float[] share_TK = new float[T * K];
        float[] score_E = new float[E], share_K = new float[K];
        int[] expert_K = new int[K];
        for (int t = 0; t < T; t++) {
            System.arraycopy(score_TE, t * E, score_E, 0, E);
            router.score(score_E);
            System.arraycopy(score_E, 0, score_TE, t * E, E);
            router.route(score_E, expert_K, share_K);
            System.arraycopy(expert_K, 0, expert_TK, t * K, K);
            System.arraycopy(share_K, 0, share_TK, t * K, K);
        }
        step.observer().routed(layer, T, score_TE, expert_TK, share_TK);
        var sorted = new SortedByExpert(expert_TK, share_TK, E, K);
        workspace.offset_E1.fill(E + 1, sorted.offset_E1);
        workspace.token_N.fill(T * K, sorted.token_N);
        workspace.weight_N.fill(T * K, sorted.weight_N);
    }

    Router router() {
        return router;
    }

    /** Published checkpoints keep the bias in F32; some copies have rounded it to BF16. */
    private static float[] floats(Tensor values) {
        float[] array = new float[Math.toIntExact(values.size())];
        for (int i = 0; i < array.length; i++)
            array[i] = switch (values.dtype) {
                case F32 -> values.getFloat(i);
                case BF16 -> Float.intBitsToFloat(values.data.getAtIndex(JAVA_SHORT_UNALIGNED, i) << 16);
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
