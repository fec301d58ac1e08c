// swiglu: y = gate / (1 + exp(-gate)) * up.
//
// Bound by memory: three floats pass for each element. A block takes kElements neighbouring elements. y may be gate or
// up: an element is read and written by one thread.
#include "cuda_context.hpp"
#include "work.cuh"

namespace panamoe::cuda {
namespace {

constexpr int64_t kElements = 512;

__global__ void __launch_bounds__(kThreads) swiglu(float *y, const float *gate, const float *up, int64_t n) {
    for (int64_t item = blockIdx.x; item * kElements < n; item += gridDim.x) {
        int64_t end = min((item + 1) * kElements, n);
        for (int64_t i = item * kElements + threadIdx.x; i < end; i += blockDim.x)
            y[i] = gate[i] / (1.0f + expf(-gate[i])) * up[i];
    }
}

}  // namespace
}  // namespace panamoe::cuda

using namespace panamoe;
using namespace panamoe::cuda;

int32_t pm_swiglu(pm_context *ctx, void *y_NF, const void *gate_NF, const void *up_NF, int32_t type, int32_t N,
                  int32_t F) {
    return enqueue(ctx, "swiglu", [&](const char *operation) {
        require_sizes(operation, {{"N", N, 0}, {"F", F}});
        require_type(operation, type);
        if (N == 0) return;
        require_arrays(operation, {{"y_NF", y_NF}, {"gate_NF", gate_NF}, {"up_NF", up_NF}});
        int64_t n = int64_t{N} * F;
        launch(operation, swiglu, blocks_for(ceil_div(n, kElements)), threads_for(n), 0, ctx->stream,
               static_cast<float *>(y_NF), static_cast<const float *>(gate_NF), static_cast<const float *>(up_NF), n);
    });
}
