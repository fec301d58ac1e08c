// mla_query: q[t][h][c] = sum over p of q_in[t][h][p] * Wk[p][c], then the rotated tail.
//
// One row: bound by memory, H * P * C weights pass once. Many rows: bound by arithmetic in fp32. The sum runs over the
// rows of Wk, so each thread owns a column c and p ascends; a weight is decoded once for kTileRows rows. The pairs of
// the tail follow as columns C .. C + Z. A block takes kThreads columns of one head and a tile of rows.
#include "cuda_context.hpp"
#include "faults.cuh"
#include "formats.cuh"
#include "rotate.cuh"
#include "work.cuh"

namespace panamoe::cuda {
namespace {

constexpr int kTileRows = 8;

struct MlaQuery {
    float *q;
    const float *q_in;
    Matrix kv_b;
    const int32_t *position;
    Rope rope;
    int64_t T, H, P, U, C, R;
    Fault *fault;
};

// Which of the rows have a good position: one bit for each.
__device__ unsigned accept_rows(const MlaQuery &a, int64_t row, int rows) {
    unsigned good = 0;
    for (int r = 0; r < rows; r++)
        if (accept(a.fault, BadIndex::query_position, row + r, a.position[row + r], a.rope.S)) good |= 1u << r;
    return good;
}

// Column c of head h for the good rows of a tile.
template <class Format>
__device__ void multiply_column(const MlaQuery &a, int64_t h, int64_t c, int64_t row, unsigned good) {
    float sum[kTileRows] = {};
    int64_t in = a.P + a.R, w_row = h * (a.P + a.U);
    const float *q_in = a.q_in + (row * a.H + h) * in;
    const Byte *w = weight_row<Format>(a.kv_b, w_row) + c * Format::kBytes;
    for (int64_t p = 0; p < a.P;) {
        // As far as the scale reaches.
        float scale = load_scale<Format>(scale_row<Format>(a.kv_b, w_row + p), c);
        int64_t end = Format::kBlock == 0 ? a.P : min(a.P, p + kScaleColumns - (w_row + p) % kScaleColumns);
        for (; p < end; p++) {
            float weight = Format::read(w + p * a.C * Format::kBytes, scale);
#pragma unroll
            for (int r = 0; r < kTileRows; r++)
                if (good >> r & 1u) sum[r] = fmaf(q_in[r * a.H * in + p], weight, sum[r]);
        }
    }
#pragma unroll
    for (int r = 0; r < kTileRows; r++)
        if (good >> r & 1u) a.q[((row + r) * a.H + h) * (a.C + a.R) + c] = sum[r];
}

template <class Format>
__global__ void __launch_bounds__(kThreads) mla_query(MlaQuery a) {
    int64_t tiles = ceil_div(a.T, kTileRows), columns = a.C + a.rope.Z, cuts = ceil_div(columns, blockDim.x);
    for (int64_t item = blockIdx.x; item < tiles * cuts * a.H; item += gridDim.x) {
        int64_t row = item % tiles * kTileRows, h = item / tiles / cuts;
        int64_t c = item / tiles % cuts * blockDim.x + threadIdx.x;
        unsigned good = accept_rows(a, row, static_cast<int>(min(a.T - row, int64_t{kTileRows})));
        if (c < a.C) {
            multiply_column<Format>(a, h, c, row, good);
        } else if (c < columns) {
            for (int r = 0; r < kTileRows; r++) {
                if ((good >> r & 1u) == 0) continue;
                int64_t at = (row + r) * a.H + h;
                rotate_pair(a.q + at * (a.C + a.R) + a.C, a.q_in + at * (a.P + a.R) + a.P, a.rope, a.position[row + r],
                            c - a.C);
            }
        }
    }
}

}  // namespace
}  // namespace panamoe::cuda

using namespace panamoe;
using namespace panamoe::cuda;

int32_t pm_mla_query(pm_context *ctx, void *q_THX, const void *q_in_THPR, int32_t type, const void *kv_b,
                     const void *scale, int32_t format, const int32_t *position_T, const float *cos_SZ,
                     const float *sin_SZ, int32_t T, int32_t H, int32_t P, int32_t U, int32_t C, int32_t R, int32_t S) {
    return enqueue(ctx, "mla_query", [&](const char *operation) {
        require_sizes(operation, {{"T", T, 0}, {"H", H}, {"P", P}, {"U", U}, {"C", C}, {"R", R}, {"S", S}});
        require_even(operation, "R", R);
        require_type(operation, type);
        FormatSize size = require_format(operation, format, format_size(format));
        if (T == 0) return;
        require_arrays(operation, {{"q_THX", q_THX},
                                   {"q_in_THPR", q_in_THPR},
                                   {"position_T", position_T},
                                   {"cos_SZ", cos_SZ},
                                   {"sin_SZ", sin_SZ}});
        require_pointers(operation, {{"kv_b", kv_b}});
        require_scale(operation, "scale", scale, format, size);
        MlaQuery a{static_cast<float *>(q_THX),
                   static_cast<const float *>(q_in_THPR),
                   matrix(kv_b, scale, C),
                   position_T,
                   {cos_SZ, sin_SZ, R / 2, S},
                   T,
                   H,
                   P,
                   U,
                   C,
                   R,
                   ctx->fault};
        int64_t columns = C + R / 2;
        dim3 threads = threads_for(columns);
        with_format(format, [&](auto stored) {
            launch(operation, mla_query<decltype(stored)>,
                   blocks_for(ceil_div(T, kTileRows) * ceil_div(columns, threads.x) * H), threads, 0, ctx->stream, a);
        });
    });
}
