// grouped_gemm: row n of y is w_E[e] times row n of x, where offset_E1[e] <= n < offset_E1[e + 1]. The plain path of
// any shape and format.
//
// Few rows for each expert: bound by memory, the weights of every expert that has rows pass once. Many: as gemm. A
// block computes kBlockOutputs outputs of up to kTileRows rows of one expert. Which rows those are, only the device
// knows: there are at most so many tiles as the grid has, and each block looks for its own among the offsets. On that
// way it checks them all: if one is wrong, nothing is computed.
#include "cuda_context.hpp"
#include "faults.cuh"
#include "product.cuh"
#include "tensor_gemm.hpp"

namespace panamoe::cuda {
namespace {

struct GroupedGemm {
    float *y;
    const float *x;
    const Byte *const *w, *const *scale;
    const int32_t *offset;
    int64_t N, D, F, E;
    Fault *fault;
};

// No more tiles than this, whatever the offsets: a tile of fewer than kTileRows rows is the last one of its expert.
__host__ __device__ int64_t most_tiles(int64_t N, int64_t E) { return min(N, N / kTileRows + E); }

struct RowTile {
    int64_t expert, from;
    int rows;  // 0: there is no such tile
};

__device__ RowTile find_tile(const GroupedGemm &a, int64_t tile) {
    RowTile found{};
    int64_t from = a.offset[0], last = a.offset[a.E];
    if (from != 0) return refuse(a.fault, BadIndex::offset_first, from, 0), RowTile{};
    if (last != a.N) return refuse(a.fault, BadIndex::offset_last, a.E, last, a.N), RowTile{};
    for (int64_t e = 0; e < a.E; e++) {
        int64_t to = a.offset[e + 1];
        if (to < from || to > a.N) return refuse(a.fault, BadIndex::offset_order, e, from, e + 1, to, a.N), RowTile{};
        int64_t tiles = ceil_div(to - from, kTileRows);
        if (tile >= 0 && tile < tiles) {
            int64_t first = from + tile * kTileRows;
            found = {e, first, static_cast<int>(min(to - first, int64_t{kTileRows}))};
        }
        tile -= tiles;
        from = to;
    }
    return found;
}

template <class Format>
__global__ void __launch_bounds__(kThreads) grouped_gemm(GroupedGemm a) {
    int64_t tiles = most_tiles(a.N, a.E);
    for (int64_t item = blockIdx.x; item < tiles * ceil_div(a.F, kBlockOutputs); item += gridDim.x) {
        RowTile tile = find_tile(a, item % tiles);
        if (tile.rows == 0) continue;
        const Byte *w = a.w[tile.expert], *scale = nullptr;
        int64_t rows = a.offset[tile.expert + 1] - int64_t{a.offset[tile.expert]};
        if (w == nullptr) {
            refuse(a.fault, BadIndex::expert_weight, tile.expert, rows);
            continue;
        }
        if constexpr (Format::kBlock != 0) {
            scale = a.scale[tile.expert];
            if (scale == nullptr) {
                refuse(a.fault, BadIndex::expert_scale, tile.expert, rows);
                continue;
            }
        }
        multiply_tile<Format>({a.y, a.x, a.F, a.D, {w, scale, a.D}, 0, a.F}, tile.from, tile.rows,
                              item / tiles * kBlockOutputs);
    }
}

}  // namespace
}  // namespace panamoe::cuda

using namespace panamoe;
using namespace panamoe::cuda;

int32_t pm_grouped_gemm(pm_context *ctx, void *y_NF, const void *x_ND, int32_t type, const void *const *w_E,
                        const void *const *scale_E, int32_t format, const int32_t *offset_E1, int32_t N, int32_t D,
                        int32_t F, int32_t E) {
    return enqueue(ctx, "grouped_gemm", [&](const char *operation) {
        require_sizes(operation, {{"N", N, 0}, {"D", D}, {"F", F}, {"E", E}});
        require_type(operation, type);
        FormatSize size = require_format(operation, format, format_size(format));
        if (N == 0) return;
        require_arrays(operation, {{"y_NF", y_NF}, {"x_ND", x_ND}, {"w_E", w_E}, {"offset_E1", offset_E1}});
        require_scale(operation, "scale_E", scale_E, format, size);
        if (tensor_gemm(*ctx, operation,
                        {static_cast<float *>(y_NF), static_cast<const float *>(x_ND), w_E, scale_E, offset_E1, format,
                         N, D, F, E}))
            return;
        GroupedGemm a{static_cast<float *>(y_NF),
                      static_cast<const float *>(x_ND),
                      reinterpret_cast<const Byte *const *>(w_E),
                      reinterpret_cast<const Byte *const *>(scale_E),
                      offset_E1,
                      N,
                      D,
                      F,
                      E,
                      ctx->fault};
        with_format(format, [&](auto stored) {
            launch(operation, grouped_gemm<decltype(stored)>, blocks_for(most_tiles(N, E) * ceil_div(F, kBlockOutputs)),
                   product_threads(F), 0, ctx->stream, a);
        });
    });
}
