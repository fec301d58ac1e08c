/* panamoe.h: the back-end interface of Panamoe, plain C99.
 *
 * Each native library (libpanamoe_cpu, libpanamoe_cuda, libpanamoe_cudaemu) exports exactly these functions.
 *
 * Shapes. The letters behind a pointer are its shape, dense and row-major, sizes given by the int32_t arguments of the
 * same letters: T rows (tokens) of this call, D inner width, F outer width, V vocabulary, E experts, N routed rows,
 * H heads, P width of a head without rope, R rope width, Z = R/2 rotated pairs, U value width, C latent rank,
 * K experts for each token, G groups of experts, X = C + R, B positions in a page, S positions in the rope tables, A
 * requests, M pages in a request's table. Every size is at least 1, except T and N, which may be 0: then nothing is
 * read and nothing is written.
 *
 * Memory. Every pointer, tables of pointers and index arrays included, lies in memory of the context (pm_allocate) or,
 * where the context's memory is the host's (pm_memory), in any readable memory of the process. Activations and index
 * arrays are aligned to their element. Weights and scales may have ANY alignment: they are used where a checkpoint's
 * file is mapped. Unless a function says otherwise, an output must not overlap an input.
 *
 * Types. type is the element type of all activations of a call (pm_type). format says how a weight is stored
 * (pm_format); scale is NULL where a format has none. cache says how a latent row is stored (pm_cache). A back end
 * refuses what it lacks.
 *
 * Errors. Functions return PM_OK or PM_FAILED; pm_error tells why the last call on a context failed. Arguments are
 * checked where a wrong one would read or write out of bounds: sizes, types, and the contents of index arrays; on a
 * device only its kernels can see those, so a bad index is reported by the next pm_synchronize or pm_copy to the host.
 * After a failure the outputs are undefined and the context goes on working. Nothing is printed, nothing exits, nothing
 * is thrown.
 *
 * Order. On a device a function only enqueues; pm_synchronize and a pm_copy to the host wait, and an error may surface
 * there. Each call makes the context's device current for its thread. One context serves one caller at a time, from any
 * thread.
 *
 * Numbers. Sums are accumulated in fp32. A row's result depends on that row and the weights alone, bit for bit: not on
 * the other rows of the call, not on the number of threads (of NaN, only that it is one). This holds within one back
 * end and instruction set.
 */
#ifndef PANAMOE_H
#define PANAMOE_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define PM_API __attribute__((visibility("default")))
#define PM_ABI 5

enum pm_status { PM_OK = 0, PM_FAILED = 1 };

/* Element type of activations. */
enum pm_type { PM_F32 = 0 };

/* How a weight matrix [F, D] is stored; QuantFormat.java has the same ids.
 * PM_W_F8_E4M3_B128: e4m3 codes (1-4-3, bias 7, no infinity, NaN = 0x7f and 0xff) and fp32 scales
 * [ceil(F/128), ceil(D/128)]; w[f][d] = e4m3(code[f][d]) * scale[f/128][d/128] in fp32. The last block of a ragged
 * dimension is short.
 * PM_W_INT8: codes of one signed byte [F, D]. PM_W_INT4: codes of half a byte, each stored as code + 8, in bytes
 * [F, ceil(D/2)]; the low half is the even column. Both have bfloat16 scales [F, ceil(D/32)], one for each row and
 * group of 32 columns, of which the last may be short; w[f][d] = code[f][d] * scale[f][d/32] in fp32. pm_gemm and the
 * grouped functions do not decode them: see pm_gemm. */
enum pm_format { PM_W_F32 = 0, PM_W_BF16 = 1, PM_W_F8_E4M3_B128 = 2, PM_W_INT8 = 3, PM_W_INT4 = 4 };

/* How a row [X] of the latent cache is stored, its values behind each other. PM_CACHE_F32: X floats. PM_CACHE_BF16: X
 * bfloat16, which pm_latent_append rounds to the nearest, ties to even. The CPU back end has PM_CACHE_F32 alone. */
enum pm_cache { PM_CACHE_F32 = 0, PM_CACHE_BF16 = 1 };

/* Where pm_allocate's memory lies: in the host's address space, or readable by the device alone. */
enum pm_place { PM_HOST = 0, PM_DEVICE = 1 };

/* What pm_measure measures, on the CPU as the median of some passes. PM_READ_BANDWIDTH: bytes per second that all
 * threads of the context together read from memory (on a device: from its memory). PM_FMA_RATE: fp32 operations per
 * second in fused multiply-adds, two each. PM_INT8_RATE: operations per second, two for each product of bytes that is
 * added up in int32; 0 where the back end has no PM_W_INT8. */
enum pm_quantity { PM_READ_BANDWIDTH = 0, PM_FMA_RATE = 1, PM_INT8_RATE = 2 };

/* How pm_score makes scores of what the gate says: DeepSeek-V3's way, and V2's. */
enum pm_scoring { PM_SIGMOID = 0, PM_SOFTMAX = 1 };

typedef struct pm_context pm_context;

/* PM_ABI of the library, to be compared with PM_ABI of the caller before anything else is called. */
PM_API int32_t pm_abi(void);

/* Opens a context. options: key=value pairs separated by spaces, or NULL. On the CPU: threads=N (default: physical
 * cores), isa=generic|avx2|avx512|avx512vnni (default: environment variable PANAMOE_ISA, else the best that this CPU
 * has). On CUDA: device=N (default: 0), stream=ADDRESS (decimal or 0x...: a stream of the caller's, who keeps it until
 * pm_close; default: a stream of the context's own), math=exact|tensor (tensor: products on tensor cores where they
 * fit, with activations rounded to bf16 or e4m3; default: environment variable PANAMOE_CUDA, else exact); the emulator
 * also takes seed=N, from which it draws its schedules (default: 1). An unknown key or value is an error. A context is
 * stored in *out even on failure (then only pm_error and pm_close work on it), except where not even that could be
 * allocated: then *out is NULL. */
PM_API int32_t pm_open(pm_context **out, const char *options);

/* Closes a context and frees all its memory. NULL is allowed. */
PM_API void pm_close(pm_context *ctx);

/* Why the last failed call on ctx failed, UTF-8; valid until the next call on ctx. Never NULL. */
PM_API const char *pm_error(const pm_context *ctx);

/* What the context runs on, in key=value pairs: "backend=cpu compiler=gcc-12.2 isa=avx2 threads=2", "backend=cuda
 * device=0 name=NVIDIA_H100 sm=90 sms=132 math=exact". Valid until pm_close. */
PM_API const char *pm_describe(const pm_context *ctx);

/* enum pm_place of this context's memory. */
PM_API int32_t pm_memory(const pm_context *ctx);

/* *out = bytes (>= 0) bytes of memory, aligned to 64 bytes, not initialised; never NULL on success. */
PM_API int32_t pm_allocate(pm_context *ctx, void **out, int64_t bytes);

/* Frees what pm_allocate of the same context gave; anything else is an error. */
PM_API int32_t pm_free(pm_context *ctx, void *data);

/* Bytes that are allocated and not yet freed. */
PM_API int64_t pm_allocated(const pm_context *ctx);

/* Copies bytes bytes; each side lies in the context's memory or in the host's. to and from must not overlap. On a
 * device, a copy within the context's memory is only enqueued; any other is done when the call returns. */
PM_API int32_t pm_copy(pm_context *ctx, void *to, const void *from, int64_t bytes);

/* Waits until everything that was enqueued is done. */
PM_API int32_t pm_synchronize(pm_context *ctx);

/* *result (in host memory) = the measured quantity (enum pm_quantity). Takes a fraction of a second. */
PM_API int32_t pm_measure(pm_context *ctx, int32_t quantity, float *result);

/* y = x / sqrt(mean(x * x) + eps) * w for each row; x * x must stay within fp32. format is PM_W_F32 or PM_W_BF16. y may
 * be x. */
PM_API int32_t pm_rms_norm(pm_context *ctx, void *y_TD, const void *x_TD, int32_t type, const void *w_D, int32_t format,
                           int32_t T, int32_t D, float eps);

/* y[t] = w x[t].
 *
 * Where w is PM_W_INT8 or PM_W_INT4, x is quantised, row by row and group of 32 columns by group: amax is the largest
 * |x|, scale_x = amax / 127, and the code of a column x / scale_x, rounded to the nearest, ties to even, not beyond 127
 * of either sign; codes are 0 where scale_x is 0. Where amax is infinite or a NaN is in the group, scale_x is NaN and
 * the codes are 0: the whole row of y becomes NaN. Then, with sum_g the exact int32 sum of the products of codes in
 * group g, y starts at 0 and g ascends: y = fma(sum_g, scale_x[g] * scale_w[g], y). Every operation is one of fp32,
 * rounded once, so the bits are the same on every instruction set, too. */
PM_API int32_t pm_gemm(pm_context *ctx, void *y_TF, const void *x_TD, int32_t type, const void *w_FD, const void *scale,
                       int32_t format, int32_t T, int32_t D, int32_t F);

/* Row n of y is w_E[e] (F x D) times row n of x, where offset_E1[e] <= n < offset_E1[e + 1]. An expert may have no
 * rows; then its pointers are not read. offset_E1 holds E + 1 values: 0 first, ascending, N last. scale_E[e]: the
 * scales of expert e; scale_E is NULL where the format has none. (DeepSeekMoE: one expert is one matrix of the
 * checkpoint.) */
PM_API int32_t pm_grouped_gemm(pm_context *ctx, void *y_NF, const void *x_ND, int32_t type, const void *const *w_E,
                               const void *const *scale_E, int32_t format, const int32_t *offset_E1, int32_t N,
                               int32_t D, int32_t F, int32_t E);

/* What the experts make of their tokens before the last product, in one call: row n of y is silu(gate x) * (up x) with
 * x = row token_N[n] of x and gate, up the matrices (F x D, both stored in format) of the expert that row n belongs to.
 * Experts, tables and offset_E1 are as in pm_grouped_gemm. token_N NULL: x is row n, and N = T. Bit for bit what
 * pm_gather, pm_grouped_gemm with gate and with up, and pm_swiglu make one after the other. A gated feed-forward part
 * without routing is one expert. */
PM_API int32_t pm_grouped_swiglu(pm_context *ctx, void *y_NF, const void *x_TD, int32_t type, const void *const *gate_E,
                                 const void *const *gate_scale_E, const void *const *up_E,
                                 const void *const *up_scale_E, int32_t format, const int32_t *offset_E1,
                                 const int32_t *token_N, int32_t N, int32_t T, int32_t D, int32_t F, int32_t E);

/* The experts' last product and the sum over experts, in one call: y[token_N[n]] += weight_N[n] * (w x[n]), n
 * ascending, w the matrix (D x F) of the expert that row n belongs to. Experts, tables and offset_E1 are as in
 * pm_grouped_gemm. token_N and weight_N NULL: y[n] += w x[n], and N = T. Bit for bit what pm_grouped_gemm and
 * pm_combine, or without tokens pm_add, make one after the other. */
PM_API int32_t pm_grouped_combine(pm_context *ctx, void *y_TD, const void *x_NF, int32_t type, const void *const *w_E,
                                  const void *const *scale_E, int32_t format, const int32_t *offset_E1,
                                  const int32_t *token_N, const float *weight_N, int32_t N, int32_t T, int32_t D,
                                  int32_t F, int32_t E);

/* The absorbed query of MLA. kv_b is the checkpoint's kv_b_proj [H * (P + U), C], each head's rows [k_nope | v]; for
 * head h, with Wk its P rows of k_nope:  q[t][h][c] = sum over p of q_in[t][h][p] * Wk[p][c]  for c < C, and q[t][h][C
 * + r] = rope(q_in[t][h][P + r])  at position_T[t]. Rope turns neighbours: the pair (a, b) = (x[2z], x[2z+1]) becomes
 * (a cos - b sin, a sin + b cos) with cos_SZ[position][z], sin_SZ[position][z], 0 <= position < S. */
PM_API int32_t pm_mla_query(pm_context *ctx, void *q_THX, const void *q_in_THPR, int32_t type, const void *kv_b,
                            const void *scale, int32_t format, const int32_t *position_T, const float *cos_SZ,
                            const float *sin_SZ, int32_t T, int32_t H, int32_t P, int32_t U, int32_t C, int32_t R,
                            int32_t S);

/* Writes one latent row for each t: rms_norm(kv[t][0..C), norm_C, eps), then rope(kv[t][C..C+R)), at position
 * position_T[t] of request request_T[t]: page table_AM[request][position / B], row position % B. pages holds
 * page_count pages of B rows. No two rows may name the same place. format is that of norm_C. */
PM_API int32_t pm_latent_append(pm_context *ctx, void *pages, int32_t cache, const void *kv_TX, int32_t type,
                                const void *norm_C, int32_t format, float eps, const int32_t *table_AM,
                                const int32_t *request_T, const int32_t *position_T, const float *cos_SZ,
                                const float *sin_SZ, int32_t T, int32_t C, int32_t R, int32_t A, int32_t M, int32_t B,
                                int32_t page_count, int32_t S);

/* o[t][h] = sum over s of softmax_s(scale * q[t][h] . row_s) * row_s[0..C), s = 0..position_T[t] of request
 * request_T[t]: absorbed MLA is attention with one key of width X, whose first C values are the value. All those rows
 * were appended before. */
PM_API int32_t pm_mla_attention(pm_context *ctx, void *o_THC, const void *q_THX, int32_t type, const void *pages,
                                int32_t cache, const int32_t *table_AM, const int32_t *request_T,
                                const int32_t *position_T, float scale, int32_t T, int32_t H, int32_t C, int32_t R,
                                int32_t A, int32_t M, int32_t B, int32_t page_count);

/* o_out[t][h][u] = sum over c of o[t][h][c] * Wv[u][c], with Wv the U rows of v of head h in kv_b (see pm_mla_query).
 */
PM_API int32_t pm_mla_output(pm_context *ctx, void *o_out_THU, const void *o_THC, int32_t type, const void *kv_b,
                             const void *scale, int32_t format, int32_t T, int32_t H, int32_t P, int32_t U, int32_t C);

/* What pm_mla_query, pm_mla_attention and pm_mla_output give together, in another order of sums: MLA as the DeepSeek-V2
 * report writes it (section 2.1.2), with keys and values expanded. For head h, with Wk and Wv its rows of k_nope and v
 * in kv_b and c_s, k_s the latent [C] and rotated key [R] that were appended at position s:
 *
 *   key_s = [Wk c_s | k_s]   value_s = Wv c_s   q = [q_in[t][h][0..P) | rope(q_in[t][h][P..P+R))]
 *   o[t][h] = sum over s of softmax_s(softmax_scale * q . key_s) * value_s   s = 0..position_T[t]
 *
 * Expanding a position costs H * (P + U) * C multiplications, once for all rows of a request that follow each other in
 * the call (up to some hundreds); then a row takes P + R + U of them for each position and head, where absorbed it
 * takes 2 * C + R: for long prompts. On CUDA the three functions do it, absorbed, and a bad index bears the name of the
 * one that met it. */
PM_API int32_t pm_mla_expanded(pm_context *ctx, void *o_THU, const void *q_in_THPR, int32_t type, const void *pages,
                               int32_t cache, const void *kv_b, const void *scale, int32_t format,
                               const int32_t *table_AM, const int32_t *request_T, const int32_t *position_T,
                               const float *cos_SZ, const float *sin_SZ, float softmax_scale, int32_t T, int32_t H,
                               int32_t P, int32_t U, int32_t C, int32_t R, int32_t A, int32_t M, int32_t B,
                               int32_t page_count, int32_t S);

/* What the gate says becomes scores, in place: 1 / (1 + exp(-y)) of each value (PM_SIGMOID), or the softmax of each row
 * (PM_SOFTMAX). A row of infinities or with a NaN becomes NaN under the softmax. */
PM_API int32_t pm_score(pm_context *ctx, void *score_TE, int32_t type, int32_t scoring, int32_t T, int32_t E);

/* Group-limited top-k (DeepSeek-V3 report, section 2.1.2): for each t the K experts with the largest score + bias among
 * the kept of G groups of E / G experts each whose best (1 or 2) largest score + bias add up to most. A NaN counts as
 * -infinity, the lower index wins a tie, no expert is chosen twice. expert_TK: the chosen ones, best first; share_TK:
 * their scores, divided by their sum (+ 1e-20, if normalize is not 0), times factor. The N = T * K pairs sorted by
 * expert, and by t within an expert, are offset_E1 (E + 1 values), token_N and weight_N, as pm_grouped_gemm, pm_gather
 * and pm_combine take them. bias_E may be NULL. N must fit int32_t. Where T is 0, offset_E1
 * is written all the same: zeros. */
PM_API int32_t pm_route(pm_context *ctx, int32_t *expert_TK, float *share_TK, int32_t *offset_E1, int32_t *token_N,
                        float *weight_N, const void *score_TE, int32_t type, const float *bias_E, int32_t T, int32_t E,
                        int32_t K, int32_t G, int32_t kept, int32_t best, int32_t normalize, float factor);

/* y[n] = x[token_N[n]]. */
PM_API int32_t pm_gather(pm_context *ctx, void *y_ND, const void *x_TD, int32_t type, const int32_t *token_N, int32_t N,
                         int32_t T, int32_t D);

/* y[token_N[n]] += weight_N[n] * x[n], n ascending. */
PM_API int32_t pm_combine(pm_context *ctx, void *y_TD, const void *x_ND, int32_t type, const int32_t *token_N,
                          const float *weight_N, int32_t N, int32_t T, int32_t D);

/* y = silu(gate) * up, silu(z) = z / (1 + exp(-z)), 0 where exp(-z) is beyond fp32. y may be gate or up. */
PM_API int32_t pm_swiglu(pm_context *ctx, void *y_NF, const void *gate_NF, const void *up_NF, int32_t type, int32_t N,
                         int32_t F);

/* y += x. */
PM_API int32_t pm_add(pm_context *ctx, void *y_TD, const void *x_TD, int32_t type, int32_t T, int32_t D);

/* y[t] = row token_T[t] of w. */
PM_API int32_t pm_embed(pm_context *ctx, void *y_TD, int32_t type, const void *w_VD, const void *scale, int32_t format,
                        const int32_t *token_T, int32_t T, int32_t V, int32_t D);

/* index_T[t] = where row t of x is largest; the lowest index wins a tie; a NaN is never chosen (0 where all are). */
PM_API int32_t pm_argmax(pm_context *ctx, int32_t *index_T, const void *x_TV, int32_t type, int32_t T, int32_t V);

#ifdef __cplusplus
}
#endif
#endif
