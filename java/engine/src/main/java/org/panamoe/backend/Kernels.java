package org.panamoe.backend;

import java.lang.foreign.Arena;
import org.jspecify.annotations.Nullable;
import org.panamoe.tensor.DType;
import org.panamoe.tensor.Tensor;
import org.panamoe.tensor.Weight;

/**
 * Every computation that leaves Java: one method for one function of panamoe.h, in its order; what each computes is said
 * there. Results come first. Activations are F32, indices I32, both in the memory of the back end (see
 * {@link #allocate}); weights lie where the checkpoint is mapped.
 *
 * <p>A wrong shape is an {@link IllegalArgumentException} that names the method and both sides; anything else that goes
 * wrong is a {@link KernelException}. A device may still be computing when a method returns; results are there after the
 * next {@link #copy} to the host. One caller at a time, from any thread.
 */
public interface Kernels extends AutoCloseable {
    /** What this runs on: "backend=cpu compiler=gcc-12.2 isa=avx2 threads=2". */
    String describe();

    /** Memory of this back end, not initialised, aligned to 64 bytes; freed when {@code arena} closes. */
    Tensor allocate(Arena arena, DType dtype, long... shape);

    /** Bytes allocated and not yet freed. */
    long allocated();

    /** Either side may lie on the host; same element type, same number of elements. */
    void copy(Tensor to, Tensor from);

    /** Whether its memory is a device's, which Java cannot read. */
    boolean onDevice();

    /** What a latent cache best holds: BF16 where attention rounds to it anyway, on tensor cores; else F32. */
    default DType latentType() {
        return DType.F32;
    }

    void synchronize();

    /** Bytes per second that this back end reads from memory with all its threads, measured now. */
    float readBandwidth();

    /** fp32 operations per second in fused multiply-adds (two each) with all its threads, measured now. */
    float fmaRate();

    /**
     * Operations per second, two for each product of bytes that is added up in int32, with all its threads, measured now; 0
     * where this back end has no integer formats, or no instructions of its own for them.
     */
    float int8Rate();

    void rmsNorm(Tensor y_TD, Tensor x_TD, Weight w_D, float eps);

    void gemm(Tensor y_TF, Tensor x_TD, Weight w_FD);

    void groupedGemm(Tensor y_NF, Tensor x_ND, ExpertTable w_E, Tensor offset_E1);

    /** @param token_N null where row n of the call is row n of {@code x_TD} */
    void groupedSwiglu(
            Tensor y_NF, Tensor x_TD, ExpertTable gate_E, ExpertTable up_E, Tensor offset_E1, @Nullable Tensor token_N);

    /**
     * Adds to {@code y_TD}.
     *
     * @param w_E the experts' [D, F]
     * @param token_N null, as then {@code weight_N} is, where row n of the call is added to row n, unweighted
     */
    void groupedCombine(
            Tensor y_TD,
            Tensor x_NF,
            ExpertTable w_E,
            Tensor offset_E1,
            @Nullable Tensor token_N,
            @Nullable Tensor weight_N);

    /** @param kvB the checkpoint's kv_b_proj, [H * (P + U), C] */
    void mlaQuery(Tensor q_THX, Tensor q_THPR, Weight kvB, Tensor position_T, Rope rope);

    void latentAppend(LatentPages pages, Tensor kv_TX, Weight norm_C, float eps, Rows rows, Rope rope);

    void mlaAttention(Tensor o_THC, Tensor q_THX, LatentPages pages, Rows rows, float scale);

    /** @param kvB the checkpoint's kv_b_proj, [H * (P + U), C] */
    void mlaOutput(Tensor o_THU, Tensor o_THC, Weight kvB);

    /** @param kvB the checkpoint's kv_b_proj, [H * (P + U), C] */
    void mlaExpanded(Tensor o_THU, Tensor q_THPR, LatentPages pages, Weight kvB, Rows rows, Rope rope, float scale);

    /** In place. */
    void score(Tensor score_TE, Scoring scoring);

    /** Chooses experts for every row of scores, and sorts the rows by expert. */
    void route(Routes routes, Tensor score_TE, Tensor bias_E, GroupLimitedTopK rule);

    void gather(Tensor y_ND, Tensor x_TD, Tensor token_N);

    void combine(Tensor y_TD, Tensor x_ND, Tensor token_N, Tensor weight_N);

    void swiglu(Tensor y_NF, Tensor gate_NF, Tensor up_NF);

    void add(Tensor y_TD, Tensor x_TD);

    void embed(Tensor y_TD, Weight w_VD, Tensor token_T);

    void argmax(Tensor index_T, Tensor x_TV);

    /** @throws IllegalStateException if memory of {@link #allocate} is still in use; then nothing is closed */
    @Override
    void close();
}
