// How work is cut into blocks and threads, and sums over the threads of a warp or a block.
//
// A sum has one order, which depends on the number of its terms alone: then a row's result does not depend on the rows
// computed beside it.
#pragma once

#include "device.cuh"

namespace panamoe::cuda {

constexpr int kWarp = 32;
constexpr unsigned kAllLanes = ~0u;
constexpr int kThreads = 128;  // of a block, where nothing speaks for another number
constexpr int kWarps = kThreads / kWarp;

__host__ __device__ constexpr int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }

// A block computes item blockIdx.x, and where there are more items than a grid should have blocks, also every
// gridDim.x-th after it.
inline dim3 blocks_for(int64_t items) {
    constexpr int64_t kMost = 16384;  // many times what a device runs at once
    return dim3(static_cast<unsigned>(items < kMost ? items : kMost));
}

// Threads of a block that has width elements to share out: whole warps, none of them idle.
inline dim3 threads_for(int64_t width, int64_t most = kThreads) {
    int64_t threads = ceil_div(width, kWarp) * kWarp;
    return dim3(static_cast<unsigned>(threads < most ? threads : most));
}

__device__ inline int lane_of_warp() { return static_cast<int>(threadIdx.x % kWarp); }
__device__ inline int warp_of_block() { return static_cast<int>(threadIdx.x / kWarp); }

// The sum over the lanes, for all lanes.
__device__ inline float warp_sum(float value) {
    for (int bit = kWarp / 2; bit > 0; bit /= 2) value += __shfl_xor_sync(kAllLanes, value, bit);
    return value;
}

// N sums over the lanes at once, N a power of 2 up to 32: lane l gets that of value[l * N / 32]. At each step half of
// the values go to the partner, whose other half comes back. Each sum has the order of warp_sum.
template <int N, int BIT = kWarp / 2>
__device__ float warp_sums(const float (&value)[N]) {
    if constexpr (N == 1) {
        float sum = value[0];
        for (int bit = BIT; bit > 0; bit /= 2) sum += __shfl_xor_sync(kAllLanes, sum, bit);
        return sum;
    } else {
        bool upper = (lane_of_warp() & BIT) != 0;
        float half[N / 2];
#pragma unroll
        for (int i = 0; i < N / 2; i++) {
            float mine = upper ? value[N / 2 + i] : value[i], other = upper ? value[i] : value[N / 2 + i];
            half[i] = mine + __shfl_xor_sync(kAllLanes, other, BIT);
        }
        return warp_sums<N / 2, BIT / 2>(half);
    }
}

// The sum over the threads of a block of up to kThreads, for all of them: warps in ascending order. Takes
// kBlockSumBytes of shared memory. All threads of the block must call it.
constexpr size_t kBlockSumBytes = kWarps * sizeof(float);
__device__ inline float block_sum(float value) {
    value = warp_sum(value);
    if (blockDim.x == kWarp) return value;
    float *smem_sum = reinterpret_cast<float *>(shared_memory());
    __syncthreads();  // the sum before this one was read
    if (lane_of_warp() == 0) smem_sum[warp_of_block()] = value;
    __syncthreads();
    value = smem_sum[0];
    for (unsigned warp = 1; warp < blockDim.x / kWarp; warp++) value += smem_sum[warp];
    return value;
}

}  // namespace panamoe::cuda
