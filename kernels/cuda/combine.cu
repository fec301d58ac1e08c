// combine: y[token[n]] += weight[n] * x[n], n ascending.
//
// Bound by memory: x passes once, y is read and written once. Two n may name the same row, so a block owns a row of y
// and kColumns of its columns, and walks all n in order; its warps compare 32 of them at once, each warp for itself.
// For a long prompt that walk, T * N comparisons for each kColumns, takes about as long as the data.
#include "cuda_context.hpp"
#include "faults.cuh"
#include "work.cuh"

namespace panamoe::cuda {
namespace {

constexpr int kOfThread = 8;  // columns
constexpr int64_t kColumns = kThreads * kOfThread;

struct Combine {
    float *y;
    const float *x;
    const int32_t *token;
    const float *weight;
    int64_t N, T, D;
    Fault *fault;
};

__global__ void __launch_bounds__(kThreads) combine(Combine a) {
    if (blockIdx.x == 0)
        for (int64_t n = threadIdx.x; n < a.N; n += blockDim.x)
            accept(a.fault, BadIndex::combine_token, n, a.token[n], a.T);
    int64_t cuts = ceil_div(a.D, kColumns);
    for (int64_t item = blockIdx.x; item < a.T * cuts; item += gridDim.x) {
        int64_t t = item / cuts, from = item % cuts * kColumns + threadIdx.x;
        float *y = a.y + t * a.D;
        float sum[kOfThread];
#pragma unroll
        for (int i = 0; i < kOfThread; i++) {
            int64_t d = from + i * blockDim.x;
            sum[i] = d < a.D ? y[d] : 0;
        }
        bool any = false;
        for (int64_t first = 0; first < a.N; first += kWarp) {
            int64_t n = first + lane_of_warp();
            unsigned hits = __ballot_sync(kAllLanes, n < a.N && a.token[n] == t);
            for (; hits != 0; hits &= hits - 1) {
                int64_t hit = first + __ffs(static_cast<int>(hits)) - 1;
                const float *x = a.x + hit * a.D;
                float weight = a.weight[hit];
#pragma unroll
                for (int i = 0; i < kOfThread; i++) {
                    int64_t d = from + i * blockDim.x;
                    if (d < a.D) sum[i] = fmaf(weight, x[d], sum[i]);
                }
                any = true;
            }
        }
        if (!any) continue;  // a row without terms is not written
#pragma unroll
        for (int i = 0; i < kOfThread; i++) {
            int64_t d = from + i * blockDim.x;
            if (d < a.D) y[d] = sum[i];
        }
    }
}

}  // namespace
}  // namespace panamoe::cuda

using namespace panamoe;
using namespace panamoe::cuda;

int32_t pm_combine(pm_context *ctx, void *y_TD, const void *x_ND, int32_t type, const int32_t *token_N,
                   const float *weight_N, int32_t N, int32_t T, int32_t D) {
    return enqueue(ctx, "combine", [&](const char *operation) {
        require_sizes(operation, {{"N", N, 0}, {"T", T, 0}, {"D", D}});
        require_type(operation, type);
        if (N == 0) return;
        require_arrays(operation, {{"y_TD", y_TD}, {"x_ND", x_ND}, {"token_N", token_N}, {"weight_N", weight_N}});
        Combine a{static_cast<float *>(y_TD), static_cast<const float *>(x_ND), token_N, weight_N, N, T, D, ctx->fault};
        launch(operation, combine, blocks_for(max(int64_t{1}, T * ceil_div(D, kColumns))), threads_for(D), 0,
               ctx->stream, a);
    });
}
