// mla_attention: o = softmax(scale * q . row_s) * row_s[0..C) over the rows s = 0 .. position of a request. The plain
// path of any shape.
//
// Few heads: bound by memory, (position + 1) * X values pass for each kTileRows heads. Many: bound by arithmetic in
// fp32, 2 * (X + C) operations for each head and cached row. A block owns one row of q and kTileRows heads and walks
// the positions in chunks of kChunk, with a running maximum and sum for each head. Chunks begin at fixed positions: the
// order of all sums depends on the position alone, not on pages. In a chunk, three phases between barriers: scores (a
// warp takes kTileOutputs cached rows, lanes over X), softmax (a warp takes a head, lanes over the chunk), values (a
// thread takes a column).
#include "attention.cuh"
#include "cache.cuh"
#include "cuda_context.hpp"
#include "mla_attention_sm90.cuh"
#include "product.cuh"

namespace panamoe::cuda {
namespace {

constexpr int kChunk = 64;  // positions
constexpr int kHeads = kTileRows;

struct Shared {
    int64_t row[kChunk];                // where the cached rows begin in pages
    float score[kChunk][kHeads];        // then shares
    float most[kHeads], total[kHeads];  // of all chunks so far
    float shrink[kHeads];               // what the chunks before count for, now that the maximum has grown
};

__device__ int64_t row_of_position(const MlaAttention &a, int64_t request, int64_t position) {
    int64_t page = a.table[request * a.M + position / a.B];
    return (page * a.B + position % a.B) * (a.C + a.R);
}

template <class Cache>
__device__ const typename Cache::Value *values(const MlaAttention &a) {
    return static_cast<const typename Cache::Value *>(a.pages);
}

// score[i][g] = scale * q[g] . row of position from + i, for i in [0, n) and g in [0, heads).
template <class Cache>
__device__ void score_chunk(const MlaAttention &a, Shared &smem, const float *q, int64_t request, int64_t from, int n,
                            int heads) {
    int64_t X = a.C + a.R;
    for (int first = warp_of_block() * kTileOutputs; first < n; first += kWarps * kTileOutputs) {
        WeightRows<typename Cache::Format> rows{};
        int64_t row[kTileOutputs];
#pragma unroll
        for (int i = 0; i < kTileOutputs; i++) {  // behind the last row: that one once more, for nothing
            row[i] = row_of_position(a, request, from + min(first + i, n - 1));
            rows.data[i] = reinterpret_cast<const Byte *>(values<Cache>(a) + row[i]);
        }
        TileSum sum = multiply(rows, q, X, heads, X);
        int i = first + sum.output;
        if (!sum.mine || sum.row >= heads || i >= n) continue;
        smem.score[i][sum.row] = a.scale * sum.value;
        if (sum.row == 0) smem.row[i] = row_of_position(a, request, from + i);
    }
}

constexpr float kNone = -INFINITY;

// Turns the scores of head g into shares of the running maximum; by one warp.
__device__ void share_chunk(Shared &smem, int g, int n, bool first_chunk) {
    float before = first_chunk ? kNone : smem.most[g], most = before, total = 0;
    for (int i = lane_of_warp(); i < n; i += kWarp)
        if (smem.score[i][g] > most) most = smem.score[i][g];  // false for NaN
    for (int bit = kWarp / 2; bit > 0; bit /= 2) {
        float other = __shfl_xor_sync(kAllLanes, most, bit);
        most = other > most ? other : most;
    }
    // Where every score so far is -inf, -inf - -inf would be NaN: their shares are 0.
    float base = most == kNone ? 0.0f : most;
    for (int i = lane_of_warp(); i < n; i += kWarp) {
        float share = expf(smem.score[i][g] - base);
        smem.score[i][g] = share;
        total += share;
    }
    total = warp_sum(total);
    if (lane_of_warp() != 0) return;
    float shrink = expf(before - base);
    smem.most[g] = most;
    smem.shrink[g] = shrink;
    smem.total[g] = first_chunk ? total : smem.total[g] * shrink + total;
}

// o[g] = o[g] * shrink + sum over i of share[i][g] * row i, at the end divided by the total; each thread for its
// columns.
template <class Cache>
__device__ void add_values(const MlaAttention &a, const Shared &smem, float *o, int n, int heads, bool first_chunk,
                           bool last_chunk) {
    for (int64_t c = threadIdx.x; c < a.C; c += blockDim.x) {
        float sum[kHeads];
#pragma unroll
        for (int g = 0; g < kHeads; g++) sum[g] = first_chunk || g >= heads ? 0 : o[g * a.C + c] * smem.shrink[g];
        for (int i = 0; i < n; i++) {
            float value = values<Cache>(a)[smem.row[i] + c];
#pragma unroll
            for (int g = 0; g < kHeads; g++)
                if (g < heads) sum[g] = fmaf(smem.score[i][g], value, sum[g]);
        }
#pragma unroll
        for (int g = 0; g < kHeads; g++)
            if (g < heads) o[g * a.C + c] = last_chunk ? sum[g] / smem.total[g] : sum[g];
    }
}

template <class Cache>
__global__ void __launch_bounds__(kThreads) mla_attention(MlaAttention a) {
    Shared &smem = *reinterpret_cast<Shared *>(shared_memory());
    int64_t groups = ceil_div(a.H, kHeads);
    for (int64_t item = blockIdx.x; item < a.T * groups; item += gridDim.x) {
        int64_t t = item / groups, h = item % groups * kHeads;
        if (!accept_row(a, t)) continue;
        int heads = static_cast<int>(min(a.H - h, int64_t{kHeads}));
        const float *q = a.q + (t * a.H + h) * (a.C + a.R);
        float *o = a.o + (t * a.H + h) * a.C;
        int64_t request = a.request[t], positions = a.position[t] + int64_t{1};
        for (int64_t from = 0; from < positions; from += kChunk) {
            int n = static_cast<int>(min(positions - from, int64_t{kChunk}));
            score_chunk<Cache>(a, smem, q, request, from, n, heads);
            __syncthreads();
            for (int g = warp_of_block(); g < heads; g += kWarps) share_chunk(smem, g, n, from == 0);
            __syncthreads();
            add_values<Cache>(a, smem, o, n, heads, from == 0, from + kChunk >= positions);
            __syncthreads();  // before the next chunk's scores
        }
    }
}

}  // namespace
}  // namespace panamoe::cuda

using namespace panamoe;
using namespace panamoe::cuda;

int32_t pm_mla_attention(pm_context *ctx, void *o_THC, const void *q_THX, int32_t type, const void *pages,
                         int32_t cache, const int32_t *table_AM, const int32_t *request_T, const int32_t *position_T,
                         float scale, int32_t T, int32_t H, int32_t C, int32_t R, int32_t A, int32_t M, int32_t B,
                         int32_t page_count) {
    return enqueue(ctx, "mla_attention", [&](const char *operation) {
        require_sizes(
            operation,
            {{"T", T, 0}, {"H", H}, {"C", C}, {"R", R}, {"A", A}, {"M", M}, {"B", B}, {"page_count", page_count}});
        require_type(operation, type);
        require_cache(operation, cache, pages);
        if (T == 0) return;
        require_arrays(operation, {{"o_THC", o_THC},
                                   {"q_THX", q_THX},
                                   {"table_AM", table_AM},
                                   {"request_T", request_T},
                                   {"position_T", position_T}});
        require_pointers(operation, {{"pages", pages}});
        MlaAttention a{static_cast<float *>(o_THC),
                       static_cast<const float *>(q_THX),
                       pages,
                       table_AM,
                       request_T,
                       position_T,
                       scale,
                       T,
                       H,
                       C,
                       R,
                       A,
                       M,
                       B,
                       page_count,
                       ctx->fault};
        if (ctx->tensor && mla_sm90::takes(a, cache)) return mla_sm90::attend(*ctx, operation, a);
        with_cache(cache, [&](auto kind) {
            launch(operation, mla_attention<decltype(kind)>, blocks_for(T * ceil_div(H, kHeads)), dim3(kThreads),
                   sizeof(Shared), ctx->stream, a);
        });
    });
}
