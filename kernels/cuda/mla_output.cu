// mla_output: o_out[t][h][u] = sum over c of o[t][h][c] * Wv[u][c], a product for each head.
//
// Bound as gemm is; the weights are the rows of v in kv_b_proj, read in place.
#include "cuda_context.hpp"
#include "product.cuh"

namespace panamoe::cuda {
namespace {

// p is the product of the first head.
template <class Format>
__global__ void __launch_bounds__(kThreads) mla_output(Product p, int64_t T, int64_t H, int64_t head_rows) {
    int64_t tiles = ceil_div(T, kTileRows), cuts = ceil_div(p.F, kBlockOutputs);
    for (int64_t item = blockIdx.x; item < tiles * cuts * H; item += gridDim.x) {
        int64_t row = item % tiles * kTileRows, cut = item / tiles % cuts, h = item / tiles / cuts;
        Product head = p;
        head.y += h * p.F;
        head.x += h * p.w.D;
        head.w_row += h * head_rows;
        multiply_tile<Format>(head, row, static_cast<int>(min(T - row, int64_t{kTileRows})), cut * kBlockOutputs);
    }
}

}  // namespace
}  // namespace panamoe::cuda

using namespace panamoe;
using namespace panamoe::cuda;

int32_t pm_mla_output(pm_context *ctx, void *o_out_THU, const void *o_THC, int32_t type, const void *kv_b,
                      const void *scale, int32_t format, int32_t T, int32_t H, int32_t P, int32_t U, int32_t C) {
    return enqueue(ctx, "mla_output", [&](const char *operation) {
        require_sizes(operation, {{"T", T, 0}, {"H", H}, {"P", P}, {"U", U}, {"C", C}});
        require_type(operation, type);
        FormatSize size = require_format(operation, format, format_size(format));
        if (T == 0) return;
        require_arrays(operation, {{"o_out_THU", o_out_THU}, {"o_THC", o_THC}});
        require_pointers(operation, {{"kv_b", kv_b}});
        require_scale(operation, "scale", scale, format, size);
        Product p{static_cast<float *>(o_out_THU),
                  static_cast<const float *>(o_THC),
                  int64_t{H} * U,
                  int64_t{H} * C,
                  matrix(kv_b, scale, C),
                  P,
                  U};
        with_format(format, [&](auto stored) {
            launch(operation, mla_output<decltype(stored)>,
                   blocks_for(ceil_div(T, kTileRows) * ceil_div(U, kBlockOutputs) * H), product_threads(U), 0,
                   ctx->stream, p, int64_t{T}, int64_t{H}, int64_t{P} + U);
        });
    });
}
