// The inner loop of gemm, grouped_gemm, mla_output and of mla_attention's scores: a tile of up to 8 rows x 4 outputs
// for one warp.
//
// Lanes run over the columns, which are contiguous both in x and in w: lane l sums columns l, l + 32, ... in ascending
// order, the lanes are added by one tree. A weight is read and decoded once for all rows of the tile, and not kept
// anywhere. Missing rows are left out, so a row's sum is the same in every tile.
#pragma once

#include "formats.cuh"
#include "work.cuh"

namespace panamoe::cuda {

constexpr int kTileRows = 8, kTileOutputs = 4;

template <class Format>
struct WeightRows {
    const Byte *data[kTileOutputs], *scale[kTileOutputs];
};

// The sums of rows [0, rows) of x with the rows of w, spread over the lanes.
struct TileSum {
    float value;
    int row, output;  // whose sum it is
    bool mine;        // several lanes have the same sum; one of them stores it
};

template <class Format, int ROWS>
__device__ TileSum multiply_rows(const WeightRows<Format> &w, const float *x, int64_t x_stride, int rows, int64_t D) {
    int lane = lane_of_warp();
    float sum[ROWS * kTileOutputs] = {};
    for (int64_t from = 0; from < D; from += kScaleColumns) {
        float scale[kTileOutputs];
#pragma unroll
        for (int o = 0; o < kTileOutputs; o++) scale[o] = load_scale<Format>(w.scale[o], from);
        int64_t to = min(D, from + kScaleColumns);
        for (int64_t d = from + lane; d < to; d += kWarp) {
            float weight[kTileOutputs];
#pragma unroll
            for (int o = 0; o < kTileOutputs; o++) weight[o] = Format::read(w.data[o] + d * Format::kBytes, scale[o]);
#pragma unroll
            for (int r = 0; r < ROWS; r++) {
                if (r >= rows) continue;
                float x_rd = x[r * x_stride + d];
#pragma unroll
                for (int o = 0; o < kTileOutputs; o++)
                    sum[r * kTileOutputs + o] = fmaf(x_rd, weight[o], sum[r * kTileOutputs + o]);
            }
        }
    }
    constexpr int kSums = ROWS * kTileOutputs;
    int index = lane * kSums / kWarp;
    return {warp_sums(sum), index / kTileOutputs, index % kTileOutputs, lane % (kWarp / kSums) == 0};
}

template <class Format>
__device__ TileSum multiply(const WeightRows<Format> &w, const float *x, int64_t x_stride, int rows, int64_t D) {
    return rows == 1 ? multiply_rows<Format, 1>(w, x, x_stride, rows, D)
                     : multiply_rows<Format, kTileRows>(w, x, x_stride, rows, D);
}

// y[r][f] = w[w_row + f] x[r].
struct Product {
    float *y;
    const float *x;
    int64_t y_stride, x_stride;
    Matrix w;
    int64_t w_row, F;
};

// Outputs that a block of kThreads computes for a tile of rows.
constexpr int64_t kBlockOutputs = kWarps * kTileOutputs;

// Rows [row, row + rows) of p for the block's outputs from f on.
template <class Format>
__device__ void multiply_tile(const Product &p, int64_t row, int rows, int64_t f) {
    f += warp_of_block() * kTileOutputs;
    if (f >= p.F) return;
    WeightRows<Format> w;
#pragma unroll
    for (int o = 0; o < kTileOutputs; o++) {  // behind the last output: that one once more, for nothing
        int64_t w_row = p.w_row + min(f + o, p.F - 1);
        w.data[o] = weight_row<Format>(p.w, w_row);
        w.scale[o] = scale_row<Format>(p.w, w_row);
    }
    TileSum sum = multiply(w, p.x + row * p.x_stride, p.x_stride, rows, p.w.D);
    if (sum.mine && sum.row < rows && f + sum.output < p.F)
        p.y[(row + sum.row) * p.y_stride + f + sum.output] = sum.value;
}

// Threads of a block for F outputs: no more warps than have something to do.
inline dim3 product_threads(int64_t F) { return threads_for(ceil_div(F, kTileOutputs) * kWarp); }

}  // namespace panamoe::cuda
