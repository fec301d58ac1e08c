// route: group-limited top-k for each token, then the chosen rows sorted by expert.
//
// Bound by latency: T * E scores in, a few integers out. Choosing: one warp for each token, its biased scores in shared
// memory, lane l looks at experts l, l + 32, ... Sorting: one block for each expert walks all N choices in order,
// twice: to count its own, and, once the counts are added up, to place them. No atomics: the order is that of the
// tokens.
#include <algorithm>

#include "cuda_context.hpp"
#include "work.cuh"

namespace panamoe::cuda {
namespace {

struct Rule {
    int32_t E, K, G, kept, best, normalize;
    float factor;
};

// NaN, which differs from itself, counts as the least.
__device__ __forceinline__ float number(float value) { return value == value ? value : -INFINITY; }

// The better of two candidates: the larger value, the lower index among equals; index -1 is none.
__device__ __forceinline__ void take_better(float &value, int32_t &index, float other_value, int32_t other_index) {
    bool better =
        other_index >= 0 && (index < 0 || other_value > value || (other_value == value && other_index < index));
    value = better ? other_value : value;
    index = better ? other_index : index;
}

// The index of the largest of n values that is not taken, the same in all lanes.
__device__ __forceinline__ int32_t best_of(const float *value, const unsigned char *taken, int32_t n, int lane) {
    float most = -INFINITY;
    int32_t best = -1;
#pragma unroll 1
    for (int32_t i = lane; i < n; i += kWarp)
        if (!taken[i]) take_better(most, best, value[i], i);
    for (int bit = kWarp / 2; bit > 0; bit /= 2) {
        float other_most = __shfl_xor_sync(kAllLanes, most, bit);
        int32_t other_best = __shfl_xor_sync(kAllLanes, best, bit);
        take_better(most, best, other_most, other_best);
    }
    return best;
}

// Takes all experts of the groups that are not among the best.
__device__ __forceinline__ void close_groups(const Rule &rule, const float *biased, unsigned char *taken,
                                             float *worth_G, unsigned char *open_G, int lane) {
    const int32_t size = rule.E / rule.G;
    for (int32_t g = lane; g < rule.G; g += kWarp) {
        float first = -INFINITY, second = -INFINITY;
        for (int32_t e = g * size; e < (g + 1) * size; e++) {
            second = fmaxf(second, fminf(first, biased[e]));
            first = fmaxf(first, biased[e]);
        }
        worth_G[g] = rule.best == 1 ? first : number(first + second);
        open_G[g] = 0;
    }
    __syncwarp();
    for (int32_t kept = 0; kept < rule.kept; kept++) {
        int32_t best = best_of(worth_G, open_G, rule.G, lane);
        __syncwarp();
        if (lane == 0) open_G[best] = 1;
        __syncwarp();
    }
    for (int32_t e = lane; e < rule.E; e += kWarp)
        if (!open_G[e / size]) taken[e] = 1;
    __syncwarp();
}

// A warp's share of shared memory: biased_E, worth_G, then a byte for each expert and group.
__host__ __device__ constexpr int64_t warp_bytes(int32_t E, int32_t G) {
    return (int64_t{4} * (E + G) + E + G + 15) / 16 * 16;
}

__global__ void __launch_bounds__(kThreads)
    choose(int32_t *expert_TK, float *share_TK, const float *score_TE, const float *bias_E, int64_t T, Rule rule) {
    const int lane = lane_of_warp();
    const int warps = static_cast<int>(blockDim.x / kWarp);
    unsigned char *mine = shared_memory() + warp_of_block() * warp_bytes(rule.E, rule.G);
    auto *biased_E = reinterpret_cast<float *>(mine);
    float *worth_G = biased_E + rule.E;
    auto *taken_E = reinterpret_cast<unsigned char *>(worth_G + rule.G);
    unsigned char *open_G = taken_E + rule.E;
    for (int64_t t = int64_t{blockIdx.x} * warps + warp_of_block(); t < T; t += int64_t{gridDim.x} * warps) {
        const float *score_E = score_TE + t * rule.E;
        for (int32_t e = lane; e < rule.E; e += kWarp) {
            biased_E[e] = number(score_E[e] + (bias_E == nullptr ? 0.0f : bias_E[e]));
            taken_E[e] = 0;
        }
        __syncwarp();
        if (rule.kept < rule.G) close_groups(rule, biased_E, taken_E, worth_G, open_G, lane);
        float sum = 0.0f;
        for (int32_t k = 0; k < rule.K; k++) {
            int32_t best = best_of(biased_E, taken_E, rule.E, lane);
            __syncwarp();
            if (lane == 0) {
                taken_E[best] = 1;
                expert_TK[t * rule.K + k] = best;
            }
            sum += score_E[best];
            __syncwarp();
        }
        float norm = rule.normalize ? sum + 1e-20f : 1.0f;
#pragma unroll 1
        for (int32_t k = lane; k < rule.K; k += kWarp)
            share_TK[t * rule.K + k] = score_E[expert_TK[t * rule.K + k]] / norm * rule.factor;
        __syncwarp();
    }
}

// offset_E1[e + 1] = how many of the N choices are expert e.
__global__ void __launch_bounds__(kThreads) count(int32_t *offset_E1, const int32_t *expert_N, int32_t N) {
    auto *count_W = reinterpret_cast<int32_t *>(shared_memory());
    const auto expert = static_cast<int32_t>(blockIdx.x);
    int32_t own = 0;
    for (int64_t i = threadIdx.x; i < N; i += kThreads) own += expert_N[i] == expert;
    for (int bit = kWarp / 2; bit > 0; bit /= 2) own += __shfl_xor_sync(kAllLanes, own, bit);
    if (lane_of_warp() == 0) count_W[warp_of_block()] = own;
    __syncthreads();
    if (threadIdx.x != 0) return;
    int32_t sum = 0;
    for (int w = 0; w < kWarps; w++) sum += count_W[w];
    offset_E1[expert + 1] = sum;
    if (expert == 0) offset_E1[0] = 0;
}

// Adds the counts up, one warp.
__global__ void __launch_bounds__(kWarp) add_up(int32_t *offset_E1, int32_t E) {
    const int lane = lane_of_warp();
    int32_t before = 0;
    for (int32_t from = 0; from < E; from += kWarp) {
        int32_t e = from + lane, sum = e < E ? offset_E1[e + 1] : 0;
        for (int delta = 1; delta < kWarp; delta *= 2) {
            int32_t left = __shfl_up_sync(kAllLanes, sum, static_cast<unsigned>(delta));
            if (lane >= delta) sum += left;
        }
        if (e < E) offset_E1[e + 1] = before + sum;
        before += __shfl_sync(kAllLanes, sum, kWarp - 1);
    }
}

__global__ void __launch_bounds__(kThreads) place(int32_t *token_N, float *weight_N, const int32_t *offset_E1,
                                                  const int32_t *expert_N, const float *share_N, int32_t N, int32_t K) {
    auto *count_W = reinterpret_cast<int32_t *>(shared_memory());
    const auto expert = static_cast<int32_t>(blockIdx.x);
    const int lane = lane_of_warp(), warp = warp_of_block();
    int32_t next = offset_E1[expert];
    if (next == offset_E1[expert + 1]) return;
    for (int64_t from = 0; from < N; from += kThreads) {
        int64_t i = from + threadIdx.x;
        bool own = i < N && expert_N[i] == expert;
        unsigned lanes = __ballot_sync(kAllLanes, own);
        if (lane == 0) count_W[warp] = __popc(lanes);
        __syncthreads();
        int32_t before = __popc(lanes & ((1u << lane) - 1)), all = 0;
        for (int w = 0; w < kWarps; w++) {
            before += w < warp ? count_W[w] : 0;
            all += count_W[w];
        }
        if (own) {
            token_N[next + before] = static_cast<int32_t>(i / K);
            weight_N[next + before] = share_N[i];
        }
        next += all;
        __syncthreads();
    }
}

}  // namespace
}  // namespace panamoe::cuda

using namespace panamoe;
using namespace panamoe::cuda;

int32_t pm_route(pm_context *ctx, int32_t *expert_TK, float *share_TK, int32_t *offset_E1, int32_t *token_N,
                 float *weight_N, const void *score_TE, int32_t type, const float *bias_E, int32_t T, int32_t E,
                 int32_t K, int32_t G, int32_t kept, int32_t best, int32_t normalize, float factor) {
    return enqueue(ctx, "route", [&](const char *operation) {
        require_type(operation, type);
        require_route(operation, T, E, K, G, kept, best);
        require_arrays(operation, {{"offset_E1", offset_E1}});
        if (T == 0) {
            require_success(*ctx, operation,
                            cudaMemsetAsync(offset_E1, 0, (static_cast<size_t>(E) + 1) * 4, ctx->stream));
            return;
        }
        require_arrays(operation, {{"expert_TK", expert_TK},
                                   {"share_TK", share_TK},
                                   {"token_N", token_N},
                                   {"weight_N", weight_N},
                                   {"score_TE", score_TE}});
        constexpr int64_t kMostShared = 48 * 1024;
        int64_t warps = std::clamp<int64_t>(kMostShared / warp_bytes(E, G), 1, kWarps), N = int64_t{T} * K;
        launch(operation, choose, blocks_for(ceil_div(T, warps)), dim3(static_cast<unsigned>(warps * kWarp)),
               static_cast<size_t>(warps * warp_bytes(E, G)), ctx->stream, expert_TK, share_TK,
               static_cast<const float *>(score_TE), bias_E, int64_t{T}, Rule{E, K, G, kept, best, normalize, factor});
        auto experts = static_cast<unsigned>(E);
        size_t counts = kWarps * sizeof(int32_t);
        launch(operation, count, dim3(experts), dim3(kThreads), counts, ctx->stream, offset_E1, expert_TK,
               static_cast<int32_t>(N));
        launch(operation, add_up, dim3(1), dim3(kWarp), 0, ctx->stream, offset_E1, E);
        launch(operation, place, dim3(experts), dim3(kThreads), counts, ctx->stream, token_N, weight_N, offset_E1,
               expert_TK, share_TK, static_cast<int32_t>(N), K);
    });
}
