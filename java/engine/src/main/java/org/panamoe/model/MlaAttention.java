package org.panamoe.model;

import org.jspecify.annotations.Nullable;
import org.panamoe.backend.ExpertTable;
import org.panamoe.backend.Kernels;
import org.panamoe.backend.LatentPages;
import org.panamoe.backend.Rope;
import org.panamoe.backend.Rows;
import org.panamoe.checkpoint.ModelConfig;
import org.panamoe.tensor.Tensor;
import org.panamoe.tensor.Weight;

/**
 * Multi-head latent attention (DeepSeek-V2 report, section 2.1). Absorbed, keys and values are never expanded: queries go
 * into the latent space and results come back from it, so that attention reads C + R values for each position, whatever
 * the number of heads. Many rows of a prompt share the keys and values of what is before them: there it is less work to
 * expand these.
 */
final class MlaAttention {
    /** Published models have 1e-6 in rms_norm_eps too; these two norms do not look at it. */
    private static final float LATENT_EPS = 1e-6f;

    private final ModelConfig config;
    private final Kernels kernels;
    private final Workspace workspace;
    private final int layer;
    private final float softmaxScale;
    private final @Nullable Weight queryDown_QD;
    private final @Nullable Weight queryNorm_Q;
    private final Weight queryUp;
    private final Weight latentDown_XD;
    private final Weight latentNorm_C;
    private final Weight kvB;
    private final ExpertTable output;

    MlaAttention(Weights weights, Kernels kernels, Workspace workspace, int layer) {
        config = weights.config();
        this.kernels = kernels;
        this.workspace = workspace;
        this.layer = layer;
        softmaxScale = new Rotary(config).softmaxScale;
        long D = config.hiddenSize(), H = config.numAttentionHeads(), Q = config.qLoraRank(), C = config.kvLoraRank();
        long P = config.qkNopeHeadDim(), R = config.qkRopeHeadDim(), U = config.vHeadDim();
        String name = "model.layers." + layer + ".self_attn.";
        if (Q > 0) {
            queryDown_QD = weights.weight(name + "q_a_proj.weight", Q, D);
            queryNorm_Q = weights.weight(name + "q_a_layernorm.weight", Q);
            queryUp = weights.weight(name + "q_b_proj.weight", H * (P + R), Q);
        } else {
            queryDown_QD = null;
            queryNorm_Q = null;
            queryUp = weights.weight(name + "q_proj.weight", H * (P + R), D);
        }
        latentDown_XD = weights.weight(name + "kv_a_proj_with_mqa.weight", C + R, D);
        latentNorm_C = weights.weight(name + "kv_a_layernorm.weight", C);
        kvB = weights.weight(name + "kv_b_proj.weight", H * (P + U), C);
        output = weights.expert(name + "o_proj.weight", D, H * U);
    }

    /** y += what attention makes of x. */
    void addTo(Tensor y_TD, Tensor x_TD, Step step) {
        int T = step.T();
        var pages = step.cache().pages(layer);
        var rope = step.cache().rope();
        var rows = step.rows();

        var kv_TX = workspace.kv_TX.rows(T);
        kernels.gemm(kv_TX, x_TD, latentDown_XD);
        kernels.latentAppend(pages, kv_TX, latentNorm_C, LATENT_EPS, rows, rope);

        var q_THPR = workspace.q_THPR.rows(T);
        kernels.gemm(workspace.q_THPR.matrix(T), queryLatent(x_TD, T), queryUp);
        var o_THU = workspace.o_THU.rows(T);
        if (step.stretches().isEmpty()) absorbed(o_THU, q_THPR, pages, rows, rope);
        else
            for (var stretch : step.stretches()) {
                int from = stretch.from(), to = stretch.to();
                var o = o_THU.rows(from, to);
                var q = q_THPR.rows(from, to);
                var some = rows.rows(from, to);
                if (stretch.expanded()) kernels.mlaExpanded(o, q, pages, kvB, some, rope, softmaxScale);
                else absorbed(o, q, pages, some, rope);
            }
        kernels.groupedCombine(y_TD, workspace.o_THU.matrix(T), output, step.offset_11(), null, null);
    }

    private void absorbed(Tensor o_THU, Tensor q_THPR, LatentPages pages, Rows rows, Rope rope) {
        int T = o_THU.dim(0);
        var q_THX = workspace.q_THX.rows(T);
        kernels.mlaQuery(q_THX, q_THPR, kvB, rows.position_T(), rope);
        var o_THC = workspace.o_THC.rows(T);
        kernels.mlaAttention(o_THC, q_THX, pages, rows, softmaxScale);
        kernels.mlaOutput(o_THU, o_THC, kvB);
    }

    private Tensor queryLatent(Tensor x_TD, int T) {
        if (queryDown_QD == null || queryNorm_Q == null) return x_TD;
        var q_TQ = workspace.q_TQ.rows(T);
        kernels.gemm(q_TQ, x_TD, queryDown_QD);
        kernels.rmsNorm(q_TQ, q_TQ, queryNorm_Q, LATENT_EPS);
        return q_TQ;
    }
}
