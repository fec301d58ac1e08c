package org.panamoe.model;

import static java.lang.foreign.ValueLayout.JAVA_SHORT_UNALIGNED;

import java.lang.foreign.Arena;
import org.panamoe.backend.Kernels;
import org.panamoe.checkpoint.Checkpoint;
import org.panamoe.checkpoint.ModelConfig;
import org.panamoe.tensor.DType;
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

    Gate(Checkpoint checkpoint, Kernels kernels, Workspace workspace, int layer) {
        config = checkpoint.config();
        this.kernels = kernels;
        this.workspace = workspace;
        this.layer = layer;
        String name = "model.layers." + layer + ".mlp.gate.";
        gate_ED = checkpoint.weight(name + "weight", config.nRoutedExperts(), config.hiddenSize());
        router = new Router(config, bias(checkpoint, name + "e_score_correction_bias"));
    }

    Routing route(Tensor x_TD, Step step) {
        int T = step.T(), E = config.nRoutedExperts(), K = config.numExpertsPerTok();
        var score = workspace.score_TE.rows(T);
        kernels.gemm(score, x_TD, gate_ED);
        float[] score_TE = download(score);
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
        return Routing.of(expert_TK, share_TK, E, K, workspace);
    }

    Router router() {
        return router;
    }

    private float[] download(Tensor values) {
        try (var local = Arena.ofConfined()) {
            var host = Tensor.allocate(local, DType.F32, values.dim(0), values.dim(1));
            kernels.copy(host, values);
            float[] array = new float[Math.toIntExact(host.size())];
            host.getFloats(0, array);
            return array;
        }
    }

    /** Published checkpoints keep the bias in F32; some copies have rounded it to BF16. */
    private static float[] floats(Tensor values) {
        float[] array = new float[Math.toIntExact(values.size())];
        for (int i = 0; i < array.length; i++)
            array[i] = switch (values.dtype) {
                case F32 -> values.getFloat(i);
                case BF16 -> Float.intBitsToFloat(values.data.getAtIndex(JAVA_SHORT_UNALIGNED, i) << 16);
                case F8_E4M3, F16, I32, I64, U8 -> throw new IllegalArgumentException("a router bias is " + values);
            };
        return array;
    }

    private float[] bias(Checkpoint checkpoint, String name) {
        return switch (config.topkMethod()) {
            case NOAUX_TC -> floats(checkpoint.tensor(name, config.nRoutedExperts()));
            case GREEDY, GROUP_LIMITED_GREEDY -> new float[config.nRoutedExperts()];
        };
    }
}
