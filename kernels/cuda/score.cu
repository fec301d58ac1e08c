// score: what the gate says becomes scores, in place.
//
// Bound by latency: T * E floats, which the gate's product has just written. Sigmoid: one thread for each value.
// Softmax: one warp for each row, lane l takes values l, l + 32, ..., and lanes are added by one tree.
#include "cuda_context.hpp"
#include "work.cuh"

namespace panamoe::cuda {
namespace {

__global__ void __launch_bounds__(kThreads) sigmoid(float *y, int64_t n) {
    for (int64_t i = int64_t{blockIdx.x} * blockDim.x + threadIdx.x; i < n; i += int64_t{gridDim.x} * blockDim.x)
        y[i] = 1.0f / (1.0f + expf(-y[i]));
}

__global__ void __launch_bounds__(kThreads) softmax(float *y_TE, int64_t T, int32_t E) {
    const int lane = lane_of_warp();
    for (int64_t t = int64_t{blockIdx.x} * kWarps + warp_of_block(); t < T; t += int64_t{gridDim.x} * kWarps) {
        float *y = y_TE + t * E;
        float most = -INFINITY;
        for (int32_t e = lane; e < E; e += kWarp) most = fmaxf(most, y[e]);  // passes over NaN; the sum does not
        for (int bit = kWarp / 2; bit > 0; bit /= 2) most = fmaxf(most, __shfl_xor_sync(kAllLanes, most, bit));
        float sum = 0.0f;
        for (int32_t e = lane; e < E; e += kWarp) sum += expf(y[e] - most);
        sum = warp_sum(sum);
        for (int32_t e = lane; e < E; e += kWarp) y[e] = expf(y[e] - most) / sum;
    }
}

}  // namespace
}  // namespace panamoe::cuda

using namespace panamoe;
using namespace panamoe::cuda;

int32_t pm_score(pm_context *ctx, void *score_TE, int32_t type, int32_t scoring, int32_t T, int32_t E) {
    return enqueue(ctx, "score", [&](const char *operation) {
        require_sizes(operation, {{"T", T, 0}, {"E", E}});
        require_type(operation, type);
        require_scoring(operation, scoring);
        if (T == 0) return;
        require_arrays(operation, {{"score_TE", score_TE}});
        auto *y_TE = static_cast<float *>(score_TE);
        int64_t n = int64_t{T} * E;
        if (scoring == PM_SIGMOID)
            launch(operation, sigmoid, blocks_for(ceil_div(n, kThreads)), threads_for(n), 0, ctx->stream, y_TE, n);
        else
            launch(operation, softmax, blocks_for(ceil_div(T, kWarps)), dim3(kThreads), 0, ctx->stream, y_TE,
                   int64_t{T}, E);
    });
}
