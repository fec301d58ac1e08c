// Kernels that use what sm_90a has, each of them right, or with one planted mistake. The emulator must let the right
// ones pass and catch the others. They also have to get through nvcc.
#pragma once

#include "device.cuh"

namespace panamoe::cuda {

enum class Bug {
    none,
    no_full_wait,       // the consumer does not wait for its tile
    no_empty_wait,      // the producer does not wait until a stage is free
    wrong_parity,       // the producer waits for the phase that is still to come
    early_release,      // the stage is given back before the products have run
    one_warp_releases,  // one warp gives it back for all four
    too_few_bytes,      // expected
    too_many_bytes,     // expected
    wrong_stride,       // in the descriptor of A
    wrong_advance,      // along K
    no_wgmma_wait,
    no_wgmma_fence,
    no_wgmma_commit,
    no_init_fence,    // after mbarrier_init
    no_init_barrier,  // after that
    no_proxy_fence,   // before the store of what threads wrote
    no_barrier_before_store,
    wrong_barrier_count,  // of the named barrier before the store
    no_store_wait,        // before the tile is written again
    no_last_store_wait,
    early_read,   // of the accumulators
    early_write,  // of the accumulators
};

// y = a b^T in bf16 with sums in fp32: A is M x K, B is N x K, Y is M x N. Tiles of 64 x 64 x 64, STAGES of them on
// their way. Warpgroup 0 loads, warpgroup 1 multiplies and stores; each block takes every gridDim.x-th tile of Y.
template <int STAGES, Bug BUG>
__global__ void __launch_bounds__(256, 1)
    emulator_gemm(const __grid_constant__ TensorMap a_MK, const __grid_constant__ TensorMap b_NK,
                  const __grid_constant__ TensorMap y_MN, int M, int N, int K) {
#if PANAMOE_SM90
    constexpr int TILE = 64, kTileBytes = TILE * TILE * 2;
    constexpr unsigned kRelease = BUG == Bug::one_warp_releases ? 1 : 4;
    unsigned char *smem_a = shared_memory(), *smem_b = smem_a + STAGES * kTileBytes;
    float *smem_y = reinterpret_cast<float *>(smem_b + STAGES * kTileBytes);  // two halves of 64 x 32
    uint64_t *full = reinterpret_cast<uint64_t *>(smem_y + TILE * TILE), *empty = full + STAGES;
    const int warp = static_cast<int>(threadIdx.x) / 32, lane = static_cast<int>(threadIdx.x) % 32;
    const int tiles_N = N / TILE, tiles = M / TILE * tiles_N, steps = K / TILE;

    if (threadIdx.x == 0) {
        for (int i = 0; i < STAGES; i++) {
            mbarrier_init(full + i, 1);
            mbarrier_init(empty + i, kRelease);
        }
        if (BUG != Bug::no_init_fence) fence_barrier_init();
    }
    if (BUG != Bug::no_init_barrier) __syncthreads();

    int stage = 0;
    unsigned phase = 0;
    auto next_stage = [&] {
        if (++stage == STAGES) stage = 0, phase ^= 1;
    };

    if (warp < 4) {
        setmaxnreg_dec<40>();
        if (warp != 0 || !elect_one()) return;
        for (int tile = static_cast<int>(blockIdx.x); tile < tiles; tile += static_cast<int>(gridDim.x))
            for (int step = 0; step < steps; step++, next_stage()) {
                if (BUG != Bug::no_empty_wait)
                    mbarrier_wait(empty + stage, BUG == Bug::wrong_parity ? phase : phase ^ 1);
                constexpr unsigned kExpected = 2 * kTileBytes + (BUG == Bug::too_many_bytes  ? 16
                                                                 : BUG == Bug::too_few_bytes ? -16
                                                                                             : 0);
                mbarrier_arrive_expect(full + stage, kExpected);
                tma_load(&a_MK, full + stage, smem_a + stage * kTileBytes, step * TILE, tile / tiles_N * TILE);
                tma_load(&b_NK, full + stage, smem_b + stage * kTileBytes, step * TILE, tile % tiles_N * TILE);
            }
        return;
    }

    setmaxnreg_inc<232>();
    for (int tile = static_cast<int>(blockIdx.x); tile < tiles; tile += static_cast<int>(gridDim.x)) {
        float sum[TILE / 2];
#pragma unroll
        for (float &each : sum) each = 0;
        for (int step = 0; step < steps; step++, next_stage()) {
            if (BUG != Bug::no_full_wait) mbarrier_wait(full + stage, phase);
            uint64_t a = matrix_descriptor(smem_a + stage * kTileBytes, Swizzle::bytes_128,
                                           BUG == Bug::wrong_stride ? 512 : 1024);
            uint64_t b = matrix_descriptor(smem_b + stage * kTileBytes, Swizzle::bytes_128, 1024);
            if (BUG != Bug::no_wgmma_fence) wgmma_fence(sum);
#pragma unroll
            for (uint32_t k = 0; k < 4; k++)
                wgmma_bf16<TILE>(sum, advance(a, (BUG == Bug::wrong_advance ? 16 : 32) * k), advance(b, 32 * k), true);
            if (BUG != Bug::no_wgmma_commit) wgmma_commit();
            if (BUG == Bug::early_release && lane == 0) mbarrier_arrive(empty + stage);
            if (BUG != Bug::no_wgmma_wait) wgmma_wait<0>(sum);
            if (BUG != Bug::early_release && lane == 0 && (BUG != Bug::one_warp_releases || warp == 4))
                mbarrier_arrive(empty + stage);
        }

        // The last tile's store must have read what this one writes.
        if (BUG != Bug::no_store_wait && threadIdx.x == 128) tma_store_wait_read<0>();
        named_barrier_sync(1, 128);
#pragma unroll
        for (int i = 0; i < TILE / 2; i++) {
            int row = 16 * (warp - 4) + lane / 4 + 8 * (i / 2 % 2), column = 8 * (i / 4) + 2 * (lane % 4) + i % 2;
            smem_y[column / 32 * (TILE * 32) + row * 32 + column % 32] = sum[i];
        }
        if (BUG != Bug::no_proxy_fence) fence_proxy_async();
        if (BUG != Bug::no_barrier_before_store) named_barrier_sync(2, BUG == Bug::wrong_barrier_count ? 256 : 128);
        if (threadIdx.x == 128) {
            for (int half = 0; half < 2; half++)
                tma_store(&y_MN, smem_y + half * TILE * 32, tile % tiles_N * TILE + half * 32, tile / tiles_N * TILE);
            tma_store_commit();
        }
    }
    if (BUG != Bug::no_last_store_wait && threadIdx.x == 128) tma_store_wait<0>();
#endif
}

constexpr size_t emulator_gemm_bytes(int stages) {
    return static_cast<size_t>(stages * 2 * 64 * 64 * 2 + 64 * 64 * 4 + 2 * stages * 8);
}

// ---- One product of one warpgroup; a and b are images of the tiles as they lie in shared memory ----

struct ProductTiles {
    const unsigned char *a, *b;
    uint32_t a_bytes, b_bytes;
    Swizzle swizzle;
    uint32_t a_stride, a_leading, b_stride, b_leading;
};

enum class ProductKind { shared, registers, e4m3 };

// y (64 x N) = a b + a b: the second product finds the first one's sum.
template <int N, ProductKind KIND, Major A, Major B, Bug BUG = Bug::none>
__global__ void __launch_bounds__(128) emulator_product(float *y, ProductTiles tiles, const uint32_t *a_registers) {
#if PANAMOE_SM90
    unsigned char *smem_a = shared_memory(), *smem_b = smem_a + 8192;
    for (uint32_t i = threadIdx.x; i < tiles.a_bytes; i += 128) smem_a[i] = tiles.a[i];
    for (uint32_t i = threadIdx.x; i < tiles.b_bytes; i += 128) smem_b[i] = tiles.b[i];
    if (BUG != Bug::no_proxy_fence) fence_proxy_async();
    __syncthreads();
    uint64_t a = matrix_descriptor(smem_a, tiles.swizzle, tiles.a_stride, tiles.a_leading);
    uint64_t b = matrix_descriptor(smem_b, tiles.swizzle, tiles.b_stride, tiles.b_leading);
    uint32_t fragment[4];
    if constexpr (KIND == ProductKind::registers)
        for (unsigned i = 0; i < 4; i++) fragment[i] = a_registers[4 * threadIdx.x + i];
    float d[N / 2];
    wgmma_fence(d);
    for (int i = 0; i < 2; i++) {
        if constexpr (KIND == ProductKind::shared) wgmma_bf16<N, A, B>(d, a, b, i > 0);
        if constexpr (KIND == ProductKind::registers) wgmma_bf16<N, B>(d, fragment, b, i > 0);
        if constexpr (KIND == ProductKind::e4m3) wgmma_e4m3<N>(d, a, b, i > 0);
    }
    wgmma_commit();
    float early = BUG == Bug::early_read ? d[0] : 0;
    if (BUG == Bug::early_write) d[0] = 1000;
    wgmma_wait<0>(d);
    if (BUG == Bug::early_read) d[0] = early;
    if (BUG == Bug::early_write) d[0] -= 1000;
    unsigned warp = threadIdx.x / 32, lane = threadIdx.x % 32;
    for (unsigned i = 0; i < N / 2; i++)
        y[(16 * warp + lane / 4 + 8 * (i / 2 % 2)) * N + 8 * (i / 4) + 2 * (lane % 4) + i % 2] = d[i];
#endif
}

// ---- Copies: a box of a tensor of rank 2 or 3 into shared memory, and as it lies there back into plain memory ----

__global__ void __launch_bounds__(128)
    emulator_load(unsigned char *y, const __grid_constant__ TensorMap x, int rank, int3 corner, unsigned bytes) {
#if PANAMOE_SM90
    uint64_t *landed = reinterpret_cast<uint64_t *>(shared_memory() + bytes);
    if (threadIdx.x == 0) {
        mbarrier_init(landed, 1);
        fence_barrier_init();
        prefetch(&x);
        mbarrier_arrive_expect(landed, bytes);
        if (rank == 2) tma_load(&x, landed, shared_memory(), corner.x, corner.y);
        if (rank == 3) tma_load(&x, landed, shared_memory(), corner.x, corner.y, corner.z);
    }
    __syncthreads();
    mbarrier_wait(landed, 0);
    for (unsigned i = threadIdx.x; i < bytes; i += blockDim.x) y[i] = shared_memory()[i];
#endif
}

// y = x by bulk copies through shared memory, stored as a box of a tensor of rank 3.
__global__ void __launch_bounds__(128) emulator_store(const __grid_constant__ TensorMap y, unsigned char *copy,
                                                      const unsigned char *x, int3 corner, unsigned bytes) {
#if PANAMOE_SM90
    uint64_t *landed = reinterpret_cast<uint64_t *>(shared_memory() + bytes);
    if (threadIdx.x != 0) return;
    mbarrier_init(landed, 1);
    fence_barrier_init();
    mbarrier_arrive_expect(landed, bytes);
    bulk_load(landed, shared_memory(), x, bytes);
    mbarrier_wait(landed, 0);
    bulk_store(copy, shared_memory(), bytes);
    tma_store(&y, shared_memory(), corner.x, corner.y, corner.z);
    tma_store_commit();
    tma_store_wait<0>();
#endif
}

// y_T of one warp: what ldmatrix and stmatrix make of the 32 x 8 matrix x, with one transpose or the other.
template <bool LOAD_TRANSPOSED, bool STORE_TRANSPOSED>
__global__ void __launch_bounds__(32) emulator_matrices(uint16_t *y, const uint16_t *x) {
#if PANAMOE_SM90
    uint16_t *smem_x = reinterpret_cast<uint16_t *>(shared_memory()), *smem_y = smem_x + 256;
    for (unsigned i = threadIdx.x; i < 256; i += 32) smem_x[i] = x[i];
    __syncwarp();
    uint32_t fragment[4];
    ldmatrix<LOAD_TRANSPOSED>(fragment, smem_x + 8 * threadIdx.x);
    stmatrix<STORE_TRANSPOSED>(smem_y + 8 * threadIdx.x, fragment);
    __syncwarp();
    for (unsigned i = threadIdx.x; i < 256; i += 32) y[i] = smem_y[i];
#endif
}

// ---- What every device has ----

enum class PlainBug { none, no_sync, divergent_sync, missing_lane, beyond, below, too_few, different_counts };

// y[block] = the sum of x[0 .. n).
template <PlainBug BUG>
__global__ void __launch_bounds__(256) emulator_sum(float *y, const float *x, int n) {
    float *smem_sum = reinterpret_cast<float *>(shared_memory());
    const int warps = static_cast<int>(blockDim.x) / 32;
    float sum = 0;
    for (int i = static_cast<int>(threadIdx.x); i < n; i += static_cast<int>(blockDim.x)) sum += x[i];
    if (BUG != PlainBug::missing_lane || threadIdx.x != 77)
        for (int bit = 16; bit > 0; bit /= 2) sum += __shfl_xor_sync(~0u, sum, bit);
    if (threadIdx.x % 32 == 0) smem_sum[threadIdx.x / 32] = sum;
    if (BUG == PlainBug::beyond && threadIdx.x == 0) smem_sum[warps] = 0;
    if (BUG == PlainBug::below && threadIdx.x == 0) smem_sum[-1] = 0;
    if (BUG == PlainBug::divergent_sync && threadIdx.x < 64)
        __syncthreads();
    else if (BUG != PlainBug::no_sync)
        __syncthreads();
    if (threadIdx.x != 0) return;
    sum = 0;
    for (int i = 0; i < warps; i++) sum += smem_sum[i];
    y[blockIdx.x] = sum;
}

// Warps 0 and 1 write, warps 2 and 3 read, through two halves of shared memory with a pair of named barriers each.
template <PlainBug BUG>
__global__ void __launch_bounds__(128) emulator_pipe(int *y, const int *x, int n) {
    int *smem = reinterpret_cast<int *>(shared_memory());
    const int t = static_cast<int>(threadIdx.x) % 64;
    const bool writes = threadIdx.x < 64;
    for (int i = 0; i < n; i++) {
        const unsigned half = static_cast<unsigned>(i % 2), ready = 1 + half, read = 3 + half;
        if (writes) {
            if (i >= 2) named_barrier_sync(read, 128);
            smem[64 * static_cast<int>(half) + t] = x[64 * i + t];
            if (BUG == PlainBug::too_few)
                named_barrier_arrive(ready, 64);
            else
                named_barrier_arrive(ready, 128);
        } else {
            if (BUG == PlainBug::different_counts)
                named_barrier_sync(ready, 96);
            else if (BUG != PlainBug::no_sync && BUG != PlainBug::too_few)
                named_barrier_sync(ready, 128);
            y[64 * i + t] = smem[64 * static_cast<int>(half) + t];
            if (i + 2 < n) named_barrier_arrive(read, 128);
        }
    }
}

// Three warpgroups; one gives registers, two take them.
template <int GIVEN, int TAKEN>
__global__ void __launch_bounds__(384, 1) emulator_registers() {
#if PANAMOE_SM90
    if (threadIdx.x < 128)
        setmaxnreg_dec<GIVEN>();
    else
        setmaxnreg_inc<TAKEN>();
#endif
}

// The lane that each warp elects, in two elections.
__global__ void __launch_bounds__(128) emulator_elect(int *y) {
#if PANAMOE_SM90
    for (int i = 0; i < 2; i++)
        if (elect_one()) y[2 * (threadIdx.x / 32) + static_cast<unsigned>(i)] = static_cast<int>(threadIdx.x % 32);
#endif
}

// In what order blocks and threads came.
__global__ void emulator_order(int *y, int *next) { y[blockIdx.x * blockDim.x + threadIdx.x] = atomicAdd(next, 1); }

// Every shuffle, with a part of the warp and with all of it; y holds 8 values for each lane.
__global__ void __launch_bounds__(32) emulator_shuffles(int *y) {
    const int lane = static_cast<int>(threadIdx.x);
    int *out = y + 8 * lane;
    out[0] = __shfl_sync(~0u, lane, 5);
    out[1] = __shfl_sync(~0u, lane, 3, 8);
    out[2] = __shfl_up_sync(~0u, lane, 2, 16);
    out[3] = __shfl_down_sync(~0u, lane, 3);
    out[4] = static_cast<int>(__ballot_sync(~0u, lane % 3 == 0));
    if (lane < 12)
        out[5] = __shfl_xor_sync(0x00000fffu, lane, 1);
    else
        out[5] = static_cast<int>(__ballot_sync(0xfffff000u, lane % 2 == 0));
    out[6] = out[7] = 0;
    if (lane >= 16) return;
    out[6] = __shfl_xor_sync(~0u, lane, 4);  // those that have left are not waited for
    out[7] = __all_sync(~0u, lane < 16) + 2 * __any_sync(~0u, lane == 7);
}

// Half of the threads leave before the barrier. What has arrived at a named barrier ends with its block.
__global__ void __launch_bounds__(128) emulator_leave(int *y) {
    int *smem = reinterpret_cast<int *>(shared_memory());
    named_barrier_arrive(1, 160 + 32 * blockIdx.x);
    if (threadIdx.x % 2 == 1) return;
    smem[threadIdx.x] = static_cast<int>(threadIdx.x);
    __syncthreads();
    y[threadIdx.x / 2] = smem[126 - threadIdx.x];
}

}  // namespace panamoe::cuda
