package org.panamoe.model;

import org.jspecify.annotations.Nullable;
import org.panamoe.backend.Kernels;
import org.panamoe.tensor.DType;
import org.panamoe.tensor.Tensor;
import org.panamoe.tensor.Weight;

/** From normed hidden states to logits, for the sampled rows only. */
final class Head implements AutoCloseable {
    private final Kernels kernels;
    private final Workspace workspace;
    private final Weight head_VD;
    private final Buffer logits_TV;
    private @Nullable Logits logits;

    Head(Weights weights, Kernels kernels, Workspace workspace) {
        this.kernels = kernels;
        this.workspace = workspace;
        var config = weights.config();
        String name = config.tieWordEmbeddings() ? "model.embed_tokens.weight" : "lm_head.weight";
        head_VD = weights.weight(name, config.vocabSize(), config.hiddenSize());
        logits_TV = new Buffer(kernels, DType.F32, config.vocabSize());
    }

    Logits forward(Batch batch, Tensor hidden_TD) {
        int sampled = batch.sampled();
        var rows = logits_TV.rows(sampled);
        var sampled_TD = workspace.sampled_TD.rows(sampled);
        kernels.gather(sampled_TD, hidden_TD, workspace.index_T.fill(sampled, batch.sampledRows));
        kernels.gemm(rows, sampled_TD, head_VD);
        if (logits == null || logits.logits_TV != rows) logits = new Logits(kernels, workspace.index_T, rows);
        logits.renew();
        return logits;
    }

    @Override
    public void close() {
        logits_TV.close();
    }
}
