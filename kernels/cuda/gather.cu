// gather: y[n] = x[token[n]].
//
// Bound by memory: each row of y is read once and written once. A block copies kColumns columns of one row.
#include "cuda_context.hpp"
#include "faults.cuh"
#include "work.cuh"

namespace panamoe::cuda {
namespace {

constexpr int64_t kColumns = 1024;

struct Gather {
    float *y;
    const float *x;
    const int32_t *token;
    int64_t N, T, D;
    Fault *fault;
};

__global__ void __launch_bounds__(kThreads) gather(Gather a) {
    int64_t cuts = ceil_div(a.D, kColumns);
    for (int64_t item = blockIdx.x; item < a.N * cuts; item += gridDim.x) {
        int64_t n = item / cuts, from = item % cuts * kColumns, to = min(from + kColumns, a.D);
        int64_t token = a.token[n];
        if (!accept(a.fault, BadIndex::gather_token, n, token, a.T)) continue;
        for (int64_t d = from + threadIdx.x; d < to; d += blockDim.x) a.y[n * a.D + d] = a.x[token * a.D + d];
    }
}

}  // namespace
}  // namespace panamoe::cuda

using namespace panamoe;
using namespace panamoe::cuda;

int32_t pm_gather(pm_context *ctx, void *y_ND, const void *x_TD, int32_t type, const int32_t *token_N, int32_t N,
                  int32_t T, int32_t D) {
    return enqueue(ctx, "gather", [&](const char *operation) {
        require_sizes(operation, {{"N", N, 0}, {"T", T, 0}, {"D", D}});
        require_type(operation, type);
        if (N == 0) return;
        require_arrays(operation, {{"y_ND", y_ND}, {"x_TD", x_TD}, {"token_N", token_N}});
        Gather a{static_cast<float *>(y_ND), static_cast<const float *>(x_TD), token_N, N, T, D, ctx->fault};
        launch(operation, gather, blocks_for(N * ceil_div(D, kColumns)), threads_for(D), 0, ctx->stream, a);
    });
}
