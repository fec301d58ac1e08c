package org.panamoe.bench;

import java.lang.foreign.Arena;
import org.jspecify.annotations.Nullable;
import org.panamoe.backend.ExpertTable;
import org.panamoe.backend.GroupLimitedTopK;
import org.panamoe.backend.Kernels;
import org.panamoe.backend.LatentPages;
import org.panamoe.backend.Rope;
import org.panamoe.backend.Routes;
import org.panamoe.backend.Rows;
import org.panamoe.backend.Scoring;
import org.panamoe.tensor.DType;
import org.panamoe.tensor.Tensor;
import org.panamoe.tensor.Weight;

/**
 * Other kernels, and how long each call of theirs takes: the check of its shapes and the way through the boundary
 * included. A device is waited for at the end of each call, so that its steps take longer than without this.
 */
final class TimedKernels implements Kernels {
    private static final int EMPTY_CALLS = 10_000;

    private final Kernels kernels;
    private Times times = new Times();
    private long begun;

    /** Closes {@code kernels} when it is closed itself. */
    TimedKernels(Kernels kernels) {
        this.kernels = kernels;
    }

    /** From now on calls are added there. */
    void tell(Times times) {
        this.times = times;
    }

    /** Seconds of a call that has nothing to do: what a call costs here whatever it does, two readings of the clock included. */
    double emptyCall() {
        var told = times;
        times = new Times();
        try (var arena = Arena.ofShared()) {
            var y_TD = allocate(arena, DType.F32, 1, 1).rows(0, 0);
            var x_TD = allocate(arena, DType.F32, 1, 1).rows(0, 0);
            for (int i = 0; i < EMPTY_CALLS; i++) add(y_TD, x_TD); // until it is compiled
            long before = System.nanoTime();
            for (int i = 0; i < EMPTY_CALLS; i++) add(y_TD, x_TD);
            return (System.nanoTime() - before) / 1e9 / EMPTY_CALLS;
        } finally {
            times = told;
        }
    }

    private void begin() {
        begun = System.nanoTime();
    }

    private void end(String function) {
        end(function, 0, 0, 0);
    }

    private void end(String function, ExpertTable w_E) {
        end(function, w_E.E(), w_E.F(), w_E.D());
    }

    private void end(String function, int E, int rows, int columns) {
        if (kernels.onDevice()) kernels.synchronize();
        times.add(function, E, rows, columns, System.nanoTime() - begun);
    }

    @Override
    public String describe() {
        return kernels.describe();
    }

    @Override
    public Tensor allocate(Arena arena, DType dtype, long... shape) {
        return kernels.allocate(arena, dtype, shape);
    }

    @Override
    public long allocated() {
        return kernels.allocated();
    }

    @Override
    public void copy(Tensor to, Tensor from) {
        begin();
        kernels.copy(to, from);
        end("copy");
    }

    @Override
    public boolean onDevice() {
        return kernels.onDevice();
    }

    @Override
    public DType latentType() {
        return kernels.latentType();
    }

    @Override
    public void synchronize() {
        begin();
        kernels.synchronize();
        end("synchronize");
    }

    @Override
    public float readBandwidth() {
        return kernels.readBandwidth();
    }

    @Override
    public float fmaRate() {
        return kernels.fmaRate();
    }

    @Override
    public float int8Rate() {
        return kernels.int8Rate();
    }

    @Override
    public void rmsNorm(Tensor y_TD, Tensor x_TD, Weight w_D, float eps) {
        begin();
        kernels.rmsNorm(y_TD, x_TD, w_D, eps);
        end("rms_norm");
    }

    @Override
    public void gemm(Tensor y_TF, Tensor x_TD, Weight w_FD) {
        begin();
        kernels.gemm(y_TF, x_TD, w_FD);
        end("gemm", 1, y_TF.dim(1), x_TD.dim(1));
    }

    @Override
    public void groupedGemm(Tensor y_NF, Tensor x_ND, ExpertTable w_E, Tensor offset_E1) {
        begin();
        kernels.groupedGemm(y_NF, x_ND, w_E, offset_E1);
        end("grouped_gemm", w_E);
    }

    @Override
    public void groupedSwiglu(
            Tensor y_NF,
            Tensor x_TD,
            ExpertTable gate_E,
            ExpertTable up_E,
            Tensor offset_E1,
            @Nullable Tensor token_N) {
        begin();
        kernels.groupedSwiglu(y_NF, x_TD, gate_E, up_E, offset_E1, token_N);
        end("grouped_swiglu", gate_E);
    }

    @Override
    public void groupedCombine(
            Tensor y_TD,
            Tensor x_NF,
            ExpertTable w_E,
            Tensor offset_E1,
            @Nullable Tensor token_N,
            @Nullable Tensor weight_N) {
        begin();
        kernels.groupedCombine(y_TD, x_NF, w_E, offset_E1, token_N, weight_N);
        end("grouped_combine", w_E);
    }

    @Override
    public void mlaQuery(Tensor q_THX, Tensor q_THPR, Weight kvB, Tensor position_T, Rope rope) {
        begin();
        kernels.mlaQuery(q_THX, q_THPR, kvB, position_T, rope);
        end("mla_query");
    }

    @Override
    public void latentAppend(LatentPages pages, Tensor kv_TX, Weight norm_C, float eps, Rows rows, Rope rope) {
        begin();
        kernels.latentAppend(pages, kv_TX, norm_C, eps, rows, rope);
        end("latent_append");
    }

    @Override
    public void mlaAttention(Tensor o_THC, Tensor q_THX, LatentPages pages, Rows rows, float scale) {
        begin();
        kernels.mlaAttention(o_THC, q_THX, pages, rows, scale);
        end("mla_attention");
    }

    @Override
    public void mlaOutput(Tensor o_THU, Tensor o_THC, Weight kvB) {
        begin();
        kernels.mlaOutput(o_THU, o_THC, kvB);
        end("mla_output");
    }

    @Override
    public void mlaExpanded(
            Tensor o_THU, Tensor q_THPR, LatentPages pages, Weight kvB, Rows rows, Rope rope, float scale) {
        begin();
        kernels.mlaExpanded(o_THU, q_THPR, pages, kvB, rows, rope, scale);
        end("mla_expanded");
    }

    @Override
    public void score(Tensor score_TE, Scoring scoring) {
        begin();
        kernels.score(score_TE, scoring);
        end("score");
    }

    @Override
    public void route(Routes routes, Tensor score_TE, Tensor bias_E, GroupLimitedTopK rule) {
        begin();
        kernels.route(routes, score_TE, bias_E, rule);
        end("route");
    }

    @Override
    public void gather(Tensor y_ND, Tensor x_TD, Tensor token_N) {
        begin();
        kernels.gather(y_ND, x_TD, token_N);
        end("gather");
    }

    @Override
    public void combine(Tensor y_TD, Tensor x_ND, Tensor token_N, Tensor weight_N) {
        begin();
        kernels.combine(y_TD, x_ND, token_N, weight_N);
        end("combine");
    }

    @Override
    public void swiglu(Tensor y_NF, Tensor gate_NF, Tensor up_NF) {
        begin();
        kernels.swiglu(y_NF, gate_NF, up_NF);
        end("swiglu");
    }

    @Override
    public void add(Tensor y_TD, Tensor x_TD) {
        begin();
        kernels.add(y_TD, x_TD);
        end("add");
    }

    @Override
    public void embed(Tensor y_TD, Weight w_VD, Tensor token_T) {
        begin();
        kernels.embed(y_TD, w_VD, token_T);
        end("embed");
    }

    @Override
    public void argmax(Tensor index_T, Tensor x_TV) {
        begin();
        kernels.argmax(index_T, x_TV);
        end("argmax");
    }

    @Override
    public void close() {
        kernels.close();
    }
}
