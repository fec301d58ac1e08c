// rms_norm: y = x / sqrt(mean(x * x) + eps) * w for each row.
//
// Bound by memory: 2 * T * D floats pass, each once. A block owns one row, so the sum over D stays inside the block and
// x is read again from the cache, not from memory.
#include "cuda_context.hpp"
#include "normalize.cuh"

namespace panamoe::cuda {
namespace {

template <class Format>
__global__ void __launch_bounds__(kThreads) rms_norm(float *y, const float *x, Matrix w, int64_t T, float eps) {
    for (int64_t t = blockIdx.x; t < T; t += gridDim.x) normalize<Format>(y + t * w.D, x + t * w.D, w.data, w.D, eps);
}

}  // namespace
}  // namespace panamoe::cuda

using namespace panamoe;
using namespace panamoe::cuda;

int32_t pm_rms_norm(pm_context *ctx, void *y_TD, const void *x_TD, int32_t type, const void *w_D, int32_t format,
                    int32_t T, int32_t D, float eps) {
    return enqueue(ctx, "rms_norm", [&](const char *operation) {
        require_sizes(operation, {{"T", T, 0}, {"D", D}});
        require_type(operation, type);
        require_vector_format(operation, format, format_size(format));
        if (T == 0) return;
        require_arrays(operation, {{"y_TD", y_TD}, {"x_TD", x_TD}});
        require_pointers(operation, {{"w_D", w_D}});
        with_vector_format(format, [&](auto stored) {
            launch(operation, rms_norm<decltype(stored)>, blocks_for(T), threads_for(D), kBlockSumBytes, ctx->stream,
                   static_cast<float *>(y_TD), static_cast<const float *>(x_TD), matrix(w_D, nullptr, D), int64_t{T},
                   eps);
        });
    });
}
