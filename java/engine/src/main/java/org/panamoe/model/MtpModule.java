package org.panamoe.model;

import java.lang.foreign.Arena;
import org.panamoe.backend.Kernels;
import org.panamoe.checkpoint.ModelConfig;
import org.panamoe.tensor.DType;
import org.panamoe.tensor.Tensor;
import org.panamoe.tensor.Weight;

/**
 * Multi-token prediction (DeepSeek-V3 report, section 2.2): from the main model's state at position i, after its final
 * norm, and the token at i + 1 it predicts the token at i + 2. A full decoder layer with its own pages in the cache;
 * embedding and head are the main model's. To draft further, its own states take the place of the main model's.
 */
public final class MtpModule {
    private final Kernels kernels;
    private final Workspace workspace;
    private final ModelConfig config;
    private final Weight embedding_VD;
    private final Weight embeddingNorm_D;
    private final Weight hiddenNorm_D;
    private final Weight projection;
    final Layer layer;
    private final Weight norm_D;
    private final Buffer hidden_TD;
    private final Head head;
    private Observer observer = Observer.NOBODY;

    MtpModule(Weights weights, Kernels kernels, Workspace workspace, Arena arena, Weight embedding_VD) {
        this.kernels = kernels;
        this.workspace = workspace;
        this.embedding_VD = embedding_VD;
        config = weights.config();
        long D = config.hiddenSize();
        String name = "model.layers." + config.numHiddenLayers() + ".";
        embeddingNorm_D = weights.weight(name + "enorm.weight", D);
        hiddenNorm_D = weights.weight(name + "hnorm.weight", D);
        projection = weights.weight(name + "eh_proj.weight", D, 2 * D);
        layer = new Layer(weights, kernels, workspace, arena, config.numHiddenLayers());
        norm_D = weights.weight(name + "shared_head.norm.weight", D);
        hidden_TD = new Buffer(kernels, DType.F32, config.hiddenSize());
        head = new Head(weights, kernels, workspace);
    }

    /**
     * Appends every row to the module's own pages and computes. The rows may stand at any position that the slot has room
     * for: what was written there before, for a draft that fell, is overwritten. All positions before a span's first
     * row must have been written: nothing remembers which were, and attention reads them.
     *
     * @param batch for each row the token at its position + 1
     * @param hidden_SD states after a final norm, the main model's or this module's own
     * @param row_T for each row of the batch the row of {@code hidden_SD} that belongs to its position
     * @throws IllegalArgumentException if a token is not in the vocabulary, a slot lacks room, or {@code row_T} does
     *     not name a row of {@code hidden_SD} for each of the batch
     */
    public Model.Output forward(Batch batch, Tensor hidden_SD, int[] row_T, LatentCache cache) {
        Model.requireSound(batch, cache, config);
        if (row_T.length != batch.T())
            throw new IllegalArgumentException(
                    "row_T names %d rows, the batch has %d".formatted(row_T.length, batch.T()));
        for (int row : row_T)
            if (row < 0 || row >= hidden_SD.dim(0))
                throw new IllegalArgumentException("row_T names row %d, hidden_SD is %s".formatted(row, hidden_SD));
        var step = Step.of(batch, cache, workspace, observer);
        int T = step.T(), D = hidden_SD.dim(1);
        var x_TD = workspace.x_TD.rows(T);
        kernels.gemm(x_TD, pairs(batch.token_T, hidden_SD, row_T).as(T, 2L * D), projection);
        layer.forward(x_TD, step);
        var hidden = hidden_TD.rows(T);
        kernels.rmsNorm(hidden, x_TD, norm_D, config.rmsNormEps());
        return new Model.Output(hidden, head.forward(batch, hidden));
    }

    void observe(Observer observer) {
        this.observer = observer;
    }

    /** [norm(embedding), norm(state)] for each row: embedding first, as eh_proj says, not as the report prints it. */
    private Tensor pairs(int[] token_T, Tensor hidden_SD, int[] row_T) {
        int T = token_T.length;
        var parts = workspace.parts_TD.rows(2 * T);
        var e_TD = parts.rows(0, T);
        var h_TD = parts.rows(T, 2L * T);
        kernels.embed(e_TD, embedding_VD, workspace.token_T.fill(T, token_T));
        kernels.gather(h_TD, hidden_SD, workspace.index_T.fill(T, row_T));
        kernels.rmsNorm(e_TD, e_TD, embeddingNorm_D, config.rmsNormEps());
        kernels.rmsNorm(h_TD, h_TD, hiddenNorm_D, config.rmsNormEps());
        int[] interleaved = new int[2 * T];
        for (int t = 0; t < T; t++) {
            interleaved[2 * t] = t;
            interleaved[2 * t + 1] = T + t;
        }
        var pairs = workspace.pairs_TD.rows(2 * T);
        kernels.gather(pairs, parts, workspace.index_T.fill(2 * T, interleaved));
        return pairs;
    }

    void close() {
        head.close();
        hidden_TD.close();
    }
}
