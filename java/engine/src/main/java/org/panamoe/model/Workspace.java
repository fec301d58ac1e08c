package org.panamoe.model;

import java.util.ArrayList;
import java.util.List;
import org.jspecify.annotations.Nullable;
import org.panamoe.backend.Kernels;
import org.panamoe.backend.Routes;
import org.panamoe.checkpoint.ModelConfig;
import org.panamoe.tensor.DType;
import org.panamoe.tensor.Tensor;

/** Memory for what is computed on the way through a layer; all layers use it in turn. */
final class Workspace implements AutoCloseable {
    /** Of so many tokens the routing is kept: a step of decoding has few. */
    static final int FEW = 16;

    private final List<Buffer> buffers = new ArrayList<>();

    final Buffer x_TD, normed_TD;
    final Buffer q_TQ, q_THPR, q_THX, kv_TX, o_THC, o_THU;
    final Buffer score_TE, dense_TF, shared_TF, hidden_NF;
    final Buffer expert_TK, share_TK, offset_E1, token_N, weight_N;
    final Buffer token_T, position_T, request_T, table, offset_11;
    /** MTP: the normed embedding and hidden state of each row, first apart, then side by side. */
    final Buffer parts_TD, pairs_TD;

    final Buffer sampled_TD, index_T;

    /** What a step says of its rows, before it is written to the back end. */
    int[] hostTable_AM = {}, hostRequest_T = {};

    final int[] hostOffset_11 = {0, 0};

    private final ByRows<Routes> routes;
    private final ByRows<HostRouting> hostRouting;
    private @Nullable Tensor flatTable, table_AM;

    Workspace(Kernels kernels, ModelConfig config) {
        int D = config.hiddenSize(), H = config.numAttentionHeads();
        int P = config.qkNopeHeadDim(), R = config.qkRopeHeadDim(), U = config.vHeadDim(), C = config.kvLoraRank();
        x_TD = floats(kernels, D);
        normed_TD = floats(kernels, D);
        q_TQ = floats(kernels, config.qLoraRank());
        q_THPR = floats(kernels, H, P + R);
        q_THX = floats(kernels, H, C + R);
        kv_TX = floats(kernels, C + R);
        o_THC = floats(kernels, H, C);
        o_THU = floats(kernels, H, U);
        score_TE = floats(kernels, config.nRoutedExperts());
        dense_TF = floats(kernels, config.intermediateSize());
        shared_TF = floats(kernels, config.nSharedExperts() * config.moeIntermediateSize());
        hidden_NF = floats(kernels, config.moeIntermediateSize());
        expert_TK = integers(kernels, config.numExpertsPerTok());
        share_TK = floats(kernels, config.numExpertsPerTok());
        offset_E1 = integers(kernels);
        token_N = integers(kernels);
        weight_N = floats(kernels);
        token_T = integers(kernels);
        position_T = integers(kernels);
        request_T = integers(kernels);
        table = integers(kernels);
        offset_11 = integers(kernels);
        parts_TD = floats(kernels, D);
        pairs_TD = floats(kernels, D);
        sampled_TD = floats(kernels, D);
        index_T = integers(kernels);
        int E = config.nRoutedExperts(), K = config.numExpertsPerTok();
        routes = new ByRows<>(
                FEW,
                T -> new Routes(
                        expert_TK.rows(T),
                        share_TK.rows(T),
                        offset_E1.rows(E + 1),
                        token_N.rows(T * K),
                        weight_N.rows(T * K)));
        hostRouting = new ByRows<>(FEW, T -> new HostRouting(T, E, K));
    }

    /** Room for the routing of T tokens. */
    Routes routes(int T) {
        var held = routes.of(T);
        int N = T * expert_TK.width();
        // Where memory ended, some buffers grew later than others.
        if (held.expert_TK() == expert_TK.rows(T)
                && held.share_TK() == share_TK.rows(T)
                && held.offset_E1() == offset_E1.rows(score_TE.width() + 1)
                && held.token_N() == token_N.rows(N)
                && held.weight_N() == weight_N.rows(N)) return held;
        routes.forget();
        return routes.of(T);
    }

    /** The same in Java's arrays. */
    HostRouting hostRouting(int T) {
        return hostRouting.of(T);
    }

    /** The pages of A requests. */
    Tensor table(int A) {
        int M = hostTable_AM.length / A;
        var flat = table.fill(A * M, hostTable_AM);
        if (table_AM == null || flat != flatTable || table_AM.dim(0) != A) table_AM = flat.as(A, M);
        flatTable = flat;
        return table_AM;
    }

    @Override
    public void close() {
        buffers.forEach(Buffer::close);
    }

    private Buffer floats(Kernels kernels, int... row) {
        return buffer(kernels, DType.F32, row);
    }

    private Buffer integers(Kernels kernels, int... row) {
        return buffer(kernels, DType.I32, row);
    }

    private Buffer buffer(Kernels kernels, DType dtype, int... row) {
        var buffer = new Buffer(kernels, dtype, row);
        buffers.add(buffer);
        return buffer;
    }
}
