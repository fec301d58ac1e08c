// gemm: y[t][f] = sum over d of w[f][d] * x[t][d]. The plain path of any shape and format.
//
// Few rows: bound by memory, F * D weights pass once. Many rows: bound by arithmetic in fp32 and by reading w again for
// every kTileRows rows, from the second-level cache where blocks of the same outputs run at the same time. A block
// computes kBlockOutputs outputs of kTileRows rows, each warp a tile of its own.
#include "cuda_context.hpp"
#include "product.cuh"
#include "tensor_gemm.hpp"

namespace panamoe::cuda {
namespace {

template <class Format>
__global__ void __launch_bounds__(kThreads) gemm(Product p, int64_t T) {
    int64_t tiles = ceil_div(T, kTileRows);  // of rows; they run fastest
    for (int64_t item = blockIdx.x; item < tiles * ceil_div(p.F, kBlockOutputs); item += gridDim.x) {
        int64_t row = item % tiles * kTileRows;
        multiply_tile<Format>(p, row, static_cast<int>(min(T - row, int64_t{kTileRows})), item / tiles * kBlockOutputs);
    }
}

}  // namespace
}  // namespace panamoe::cuda

using namespace panamoe;
using namespace panamoe::cuda;

int32_t pm_gemm(pm_context *ctx, void *y_TF, const void *x_TD, int32_t type, const void *w_FD, const void *scale,
                int32_t format, int32_t T, int32_t D, int32_t F) {
    return enqueue(ctx, "gemm", [&](const char *operation) {
        require_sizes(operation, {{"T", T, 0}, {"D", D}, {"F", F}});
        require_type(operation, type);
        FormatSize size = require_format(operation, format, format_size(format));
        if (T == 0) return;
        require_arrays(operation, {{"y_TF", y_TF}, {"x_TD", x_TD}});
        require_pointers(operation, {{"w_FD", w_FD}});
        require_scale(operation, "scale", scale, format, size);
        if (tensor_gemm(*ctx, operation,
                        {static_cast<float *>(y_TF), static_cast<const float *>(x_TD), w_FD, scale, nullptr, format, T,
                         D, F, 1}))
            return;
        Product p{static_cast<float *>(y_TF), static_cast<const float *>(x_TD), F, D, matrix(w_FD, scale, D), 0, F};
        with_format(format, [&](auto stored) {
            launch(operation, gemm<decltype(stored)>, blocks_for(ceil_div(T, kTileRows) * ceil_div(F, kBlockOutputs)),
                   product_threads(F), 0, ctx->stream, p, int64_t{T});
        });
    });
}
