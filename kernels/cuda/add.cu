// add: y += x.
//
// Bound by memory: three floats pass for each element. A block takes kElements neighbouring elements.
#include "cuda_context.hpp"
#include "work.cuh"

namespace panamoe::cuda {
namespace {

constexpr int64_t kElements = 512;

__global__ void __launch_bounds__(kThreads) add(float *y, const float *x, int64_t n) {
    for (int64_t item = blockIdx.x; item * kElements < n; item += gridDim.x) {
        int64_t end = min((item + 1) * kElements, n);
        for (int64_t i = item * kElements + threadIdx.x; i < end; i += blockDim.x) y[i] += x[i];
    }
}

}  // namespace
}  // namespace panamoe::cuda

using namespace panamoe;
using namespace panamoe::cuda;

int32_t pm_add(pm_context *ctx, void *y_TD, const void *x_TD, int32_t type, int32_t T, int32_t D) {
    return enqueue(ctx, "add", [&](const char *operation) {
        require_sizes(operation, {{"T", T, 0}, {"D", D}});
        require_type(operation, type);
        if (T == 0) return;
        require_arrays(operation, {{"y_TD", y_TD}, {"x_TD", x_TD}});
        int64_t n = int64_t{T} * D;
        launch(operation, add, blocks_for(ceil_div(n, kElements)), threads_for(n), 0, ctx->stream,
               static_cast<float *>(y_TD), static_cast<const float *>(x_TD), n);
    });
}
