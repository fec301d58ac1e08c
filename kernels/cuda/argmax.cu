// argmax: the index of the largest element; the lowest wins a tie, NaN never wins.
//
// Bound by memory: each row passes once. A block owns one row, with as many threads as leave each some elements.
#include "cuda_context.hpp"
#include "work.cuh"

namespace panamoe::cuda {
namespace {

constexpr int kMostThreads = 1024;
constexpr int64_t kOfThread = 8;  // elements

struct Best {
    float value;
    int32_t index;  // -1: none yet
};

__device__ Best better(Best a, Best b) {
    if (b.index < 0) return a;
    if (a.index < 0) return b;
    return b.value > a.value || (b.value == a.value && b.index < a.index) ? b : a;
}

// Of all lanes, for all lanes.
__device__ Best best_of_warp(Best best) {
    for (int bit = kWarp / 2; bit > 0; bit /= 2)
        best = better(best, {__shfl_xor_sync(kAllLanes, best.value, bit), __shfl_xor_sync(kAllLanes, best.index, bit)});
    return best;
}

__global__ void __launch_bounds__(kMostThreads) argmax(int32_t *index, const float *x, int64_t T, int32_t V) {
    Best *smem_best = reinterpret_cast<Best *>(shared_memory());
    for (int64_t t = blockIdx.x; t < T; t += gridDim.x) {
        Best best{0, -1};
        for (int64_t v = threadIdx.x; v < V; v += blockDim.x) {
            float value = x[t * V + v];
            if (best.index < 0 ? value == value : value > best.value) best = {value, static_cast<int32_t>(v)};
        }
        best = best_of_warp(best);
        __syncthreads();  // the row before this one was read
        if (lane_of_warp() == 0) smem_best[warp_of_block()] = best;
        __syncthreads();
        if (threadIdx.x != 0) continue;
        for (unsigned warp = 1; warp < blockDim.x / kWarp; warp++) best = better(best, smem_best[warp]);
        index[t] = max(best.index, 0);
    }
}

}  // namespace
}  // namespace panamoe::cuda

using namespace panamoe;
using namespace panamoe::cuda;

int32_t pm_argmax(pm_context *ctx, int32_t *index_T, const void *x_TV, int32_t type, int32_t T, int32_t V) {
    return enqueue(ctx, "argmax", [&](const char *operation) {
        require_sizes(operation, {{"T", T, 0}, {"V", V}});
        require_type(operation, type);
        if (T == 0) return;
        require_arrays(operation, {{"index_T", index_T}, {"x_TV", x_TV}});
        dim3 threads = threads_for(ceil_div(V, kOfThread), kMostThreads);
        launch(operation, argmax, blocks_for(T), threads, threads.x / kWarp * sizeof(Best), ctx->stream, index_T,
               static_cast<const float *>(x_TV), int64_t{T}, V);
    });
}
