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
    private final ByRows<Room> rooms;
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
        rooms = new ByRows<>(Workspace.FEW, T -> new Room(workspace, T, D));
    }

    /**
     * Appends every row to the module's own pages and computes. The rows may stand at any position that the slot has room
     * for: what was written there before, for a draft that fell, is overwritten. All positions before a span's first
     * row must have been written: nothing remembers which were, and attention reads them.
     *
     * @param batch for each row the token at its position + 1
     * @param hidden_SD states after a final norm, the main model's or this module's own
     * @param row_T for each row of the batch the row of {@code hidden_SD} that belongs to its position; what is behind
     *     these does not count
     * @throws IllegalArgumentException if a token is not in the vocabulary, a slot lacks room, or {@code row_T} does
     *     not name a row of {@code hidden_SD} for each of the batch
     */
    public Model.Output forward(Batch batch, Tensor hidden_SD, int[] row_T, LatentCache cache) {
        Model.requireSound(batch, cache, config);
        if (row_T.length < batch.T())
            throw new IllegalArgumentException(
                    "row_T names %d rows, the batch has %d".formatted(row_T.length, batch.T()));
        for (int t = 0; t < batch.T(); t++)
            if (row_T[t] < 0 || row_T[t] >= hidden_SD.dim(0))
                throw new IllegalArgumentException(
                        "row_T names row %d, hidden_SD is %s".formatted(row_T[t], hidden_SD));
        var step = Step.of(batch, cache, workspace, observer);
        int T = step.T();
        var x_TD = workspace.x_TD.rows(T);
        kernels.gemm(x_TD, pairs(batch, hidden_SD, row_T), projection);
        layer.forward(x_TD, step);
        var hidden = hidden_TD.rows(T);
        kernels.rmsNorm(hidden, x_TD, norm_D, config.rmsNormEps());
        return new Model.Output(hidden, head.forward(batch, hidden));
    }

    void observe(Observer observer) {
        this.observer = observer;
    }

    /** [norm(embedding), norm(state)] for each row: embedding first, as eh_proj says, not as the report prints it. */
    private Tensor pairs(Batch batch, Tensor hidden_SD, int[] row_T) {
        int T = batch.T();
        var room = room(T);
        kernels.embed(room.e_TD, embedding_VD, workspace.token_T.fill(T, batch.token_T));
        kernels.gather(room.h_TD, hidden_SD, workspace.index_T.fill(T, row_T));
        kernels.rmsNorm(room.e_TD, room.e_TD, embeddingNorm_D, config.rmsNormEps());
        kernels.rmsNorm(room.h_TD, room.h_TD, hiddenNorm_D, config.rmsNormEps());
        kernels.gather(room.pairs_TD, room.parts_TD, workspace.index_T.fill(2 * T, room.order));
        return room.pairs;
    }

    /** Where the pairs of T rows are made. */
    private static final class Room {
        /** All of {@code e_TD}, then all of {@code h_TD}. */
        final Tensor parts_TD;

        final Tensor e_TD, h_TD;
        /** Both parts of a row one after the other, and as one row: [T, 2 D]. */
        final Tensor pairs_TD, pairs;

        /** For each row of {@code pairs_TD} that of {@code parts_TD}. */
        final int[] order;

        Room(Workspace workspace, int T, long D) {
            parts_TD = workspace.parts_TD.rows(2 * T);
            e_TD = parts_TD.rows(0, T);
            h_TD = parts_TD.rows(T, 2L * T);
            pairs_TD = workspace.pairs_TD.rows(2 * T);
            pairs = pairs_TD.as(T, 2 * D);
            order = new int[2 * T];
            for (int t = 0; t < T; t++) {
                order[2 * t] = t;
                order[2 * t + 1] = T + t;
            }
        }
    }

    private Room room(int T) {
        var held = rooms.of(T);
        if (held.parts_TD == workspace.parts_TD.rows(2 * T) && held.pairs_TD == workspace.pairs_TD.rows(2 * T))
            return held;
        rooms.forget(); // a buffer grew
        return rooms.of(T);
    }

    void close() {
        head.close();
        hidden_TD.close();
    }
}
