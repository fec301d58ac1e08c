// The machine: the only header of this folder that knows whether nvcc or the host compiler reads it. Kernels find here
// what CUDA itself gives them, shared_memory(), launch(), and the instructions of sm_90a.
//
// A kernel that uses instructions of sm_90a keeps its body between #if PANAMOE_SM90 and #endif: in what nvcc makes for
// older devices they are not declared. Nobody launches it there.
//
// Each thread's writes to shared memory are unknown to TMA stores and wgmma until fence_proxy_async; what TMA loads is
// there for all who have waited for its mbarrier.
#pragma once

#include <cstddef>
#include <cstdint>

#include "boundary.hpp"
#include "numbers.hpp"
#include "tensor_map.hpp"

namespace panamoe::cuda {

// How a tile of a matrix lies in shared memory: K contiguous, or M (of A) or N (of B).
enum class Major { k, mn };

}  // namespace panamoe::cuda

#ifdef PANAMOE_EMULATOR
#define PANAMOE_SM90 1
#include "emulator/device.hpp"
#else

#include <cuda.h>
#include <cuda_runtime.h>

#if defined(__CUDA_ARCH_FEAT_SM90_ALL) || !defined(__CUDA_ARCH__)
#define PANAMOE_SM90 1
#else
#define PANAMOE_SM90 0
#endif

namespace panamoe::cuda {

// The block's dynamic shared memory, aligned to 1024 bytes. There is no other.
extern __shared__ __align__(1024) unsigned char dynamic_shared_memory[];
__device__ __forceinline__ unsigned char *shared_memory() { return dynamic_shared_memory; }

// Enqueues kernel(args...) on grid blocks of block threads, each block with smem bytes of shared memory. Throws Error,
// which names the kernel, where the launch is refused; what goes wrong while it runs surfaces at a later call.
template <class... P, class... A>
void launch(const char *name, void (*kernel)(P...), dim3 grid, dim3 block, size_t smem, cudaStream_t stream,
            A... args) {
    cudaError_t status = cudaSuccess;
    if (smem > 48 * 1024)  // more than every device has must be asked for
        status = cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, static_cast<int>(smem));
    if (status == cudaSuccess) {
        cudaLaunchConfig_t config{};
        config.gridDim = grid;
        config.blockDim = block;
        config.dynamicSmemBytes = smem;
        config.stream = stream;
        status = cudaLaunchKernelEx(&config, kernel, static_cast<P>(args)...);
    }
    if (status == cudaSuccess) return;
    cudaGetLastError();  // reported here, not once more at the next call
    fail("%s: launch of %u x %u x %u blocks of %u x %u x %u threads, %zu bytes of shared memory: %s", name, grid.x,
         grid.y, grid.z, block.x, block.y, block.z, smem, cudaGetErrorString(status));
}

// ---- TMA descriptors: kernel parameters of type const __grid_constant__ TensorMap ----

using TensorMap = CUtensorMap;

// Throws Error, which names the tensor.
inline TensorMap tensor_map(const char *name, const TensorShape &shape) {
    check_tensor_map(name, shape);
    static const auto encode = [] {
        void *function = nullptr;
        cudaDriverEntryPointQueryResult found;
        cudaGetDriverEntryPointByVersion("cuTensorMapEncodeTiled", &function, 12000, cudaEnableDefault, &found);
        return reinterpret_cast<decltype(&cuTensorMapEncodeTiled)>(function);
    }();
    require(encode != nullptr, "%s: the driver has no tensor maps (CUDA 12.0)", name);
    CUtensorMapDataType type = shape.element_bytes == 1   ? CU_TENSOR_MAP_DATA_TYPE_UINT8
                               : shape.element_bytes == 2 ? CU_TENSOR_MAP_DATA_TYPE_BFLOAT16
                                                          : CU_TENSOR_MAP_DATA_TYPE_FLOAT32;
    constexpr CUtensorMapSwizzle kSwizzles[] = {CU_TENSOR_MAP_SWIZZLE_NONE, CU_TENSOR_MAP_SWIZZLE_32B,
                                                CU_TENSOR_MAP_SWIZZLE_64B, CU_TENSOR_MAP_SWIZZLE_128B};
    const cuuint32_t every[] = {1, 1, 1};
    TensorMap map;
    CUresult status =
        encode(&map, type, static_cast<cuuint32_t>(shape.rank), const_cast<void *>(shape.data),
               reinterpret_cast<const cuuint64_t *>(shape.size), reinterpret_cast<const cuuint64_t *>(shape.stride + 1),
               shape.box, every, CU_TENSOR_MAP_INTERLEAVE_NONE, kSwizzles[static_cast<int>(shape.swizzle)],
               CU_TENSOR_MAP_L2_PROMOTION_L2_256B, CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE);
    require(status == CUDA_SUCCESS, "%s: cuTensorMapEncodeTiled: error %d", name, static_cast<int>(status));
    return map;
}

__device__ __forceinline__ uint32_t shared_address(const void *pointer) {
    return static_cast<uint32_t>(__cvta_generic_to_shared(pointer));
}

// Four 8 x 8 matrices of two-byte elements. Lane 8 m + r names row r of matrix m; register m of lane l holds row l / 4,
// columns 2 (l % 4) and the next, of matrix m; TRANSPOSED: of its transpose.
template <bool TRANSPOSED = false>
__device__ __forceinline__ void ldmatrix(uint32_t (&fragment)[4], const void *row) {
    if constexpr (TRANSPOSED)
        asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
                     : "=r"(fragment[0]), "=r"(fragment[1]), "=r"(fragment[2]), "=r"(fragment[3])
                     : "r"(shared_address(row))
                     : "memory");
    else
        asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
                     : "=r"(fragment[0]), "=r"(fragment[1]), "=r"(fragment[2]), "=r"(fragment[3])
                     : "r"(shared_address(row))
                     : "memory");
}

// bar.sync and bar.arrive: barriers 1 to 15, of whole warps; threads counts those of both kinds.
__device__ __forceinline__ void named_barrier_sync(unsigned id, unsigned threads) {
    asm volatile("bar.sync %0, %1;" ::"r"(id), "r"(threads) : "memory");
}
__device__ __forceinline__ void named_barrier_arrive(unsigned id, unsigned threads) {
    asm volatile("bar.arrive %0, %1;" ::"r"(id), "r"(threads) : "memory");
}

#if PANAMOE_SM90

// ---- mbarriers: 8 aligned bytes of shared memory ----
//
// A phase completes when count threads have arrived and the expected bytes have landed. The barrier begins with phase
// 0; wait(parity) returns once the phase of that parity has completed, so that waiting for parity 1 passes at first.

__device__ __forceinline__ void mbarrier_init(uint64_t *barrier, unsigned count) {
    asm volatile("mbarrier.init.shared::cta.b64 [%0], %1;" ::"r"(shared_address(barrier)), "r"(count) : "memory");
}
__device__ __forceinline__ void mbarrier_arrive(uint64_t *barrier) {
    asm volatile("mbarrier.arrive.shared::cta.b64 _, [%0];" ::"r"(shared_address(barrier)) : "memory");
}
// Arrives, and lets the phase wait for bytes more.
__device__ __forceinline__ void mbarrier_arrive_expect(uint64_t *barrier, unsigned bytes) {
    asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" ::"r"(shared_address(barrier)), "r"(bytes)
                 : "memory");
}
__device__ __forceinline__ void mbarrier_wait(uint64_t *barrier, unsigned parity) {
    asm volatile(
        "{\n"
        ".reg .pred done;\n"
        "AGAIN: mbarrier.try_wait.parity.shared::cta.b64 done, [%0], %1, 10000000;\n"
        "@!done bra AGAIN;\n"
        "}" ::"r"(shared_address(barrier)),
        "r"(parity)
        : "memory");
}
// After mbarrier_init, by the same thread; the others may use the barriers after a __syncthreads that follows.
__device__ __forceinline__ void fence_barrier_init() {
    asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory");
}
__device__ __forceinline__ void fence_proxy_async() { asm volatile("fence.proxy.async.shared::cta;" ::: "memory"); }

// ---- TMA. Shared addresses are aligned to 128 bytes, those of bulk copies, global ones too, to 16 ----

// Before the first use of a map that lies in global memory, where the host copied it, by the thread that uses it.
__device__ __forceinline__ void fence_tensor_map(const TensorMap *map) {
    asm volatile("fence.proxy.tensormap::generic.acquire.sys [%0], 128;" ::"l"(map) : "memory");
}
__device__ __forceinline__ void prefetch(const TensorMap *map) {
    asm volatile("prefetch.tensormap [%0];" ::"l"(map) : "memory");
}
// Loads the box whose first element is (x, y); each byte, those outside the tensor too, counts for the barrier.
__device__ __forceinline__ void tma_load(const TensorMap *map, uint64_t *barrier, void *to, int x, int y) {
    asm volatile(
        "cp.async.bulk.tensor.2d.shared::cluster.global.mbarrier::complete_tx::bytes [%0], [%1, {%3, %4}], [%2];" ::"r"(
            shared_address(to)),
        "l"(map), "r"(shared_address(barrier)), "r"(x), "r"(y)
        : "memory");
}
__device__ __forceinline__ void tma_load(const TensorMap *map, uint64_t *barrier, void *to, int x, int y, int z) {
    asm volatile(
        "cp.async.bulk.tensor.3d.shared::cluster.global.mbarrier::complete_tx::bytes [%0], [%1, {%3, %4, %5}], [%2];" ::
            "r"(shared_address(to)),
        "l"(map), "r"(shared_address(barrier)), "r"(x), "r"(y), "r"(z)
        : "memory");
}
__device__ __forceinline__ void bulk_load(uint64_t *barrier, void *to, const void *from, unsigned bytes) {
    asm volatile("cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes [%0], [%1], %2, [%3];" ::"r"(
                     shared_address(to)),
                 "l"(from), "r"(bytes), "r"(shared_address(barrier))
                 : "memory");
}
// Stores belong to the group that the thread's next tma_store_commit closes.
__device__ __forceinline__ void tma_store(const TensorMap *map, const void *from, int x, int y) {
    asm volatile("cp.async.bulk.tensor.2d.global.shared::cta.bulk_group [%0, {%2, %3}], [%1];" ::"l"(map),
                 "r"(shared_address(from)), "r"(x), "r"(y)
                 : "memory");
}
__device__ __forceinline__ void tma_store(const TensorMap *map, const void *from, int x, int y, int z) {
    asm volatile("cp.async.bulk.tensor.3d.global.shared::cta.bulk_group [%0, {%2, %3, %4}], [%1];" ::"l"(map),
                 "r"(shared_address(from)), "r"(x), "r"(y), "r"(z)
                 : "memory");
}
__device__ __forceinline__ void bulk_store(void *to, const void *from, unsigned bytes) {
    asm volatile("cp.async.bulk.global.shared::cta.bulk_group [%0], [%1], %2;" ::"l"(to), "r"(shared_address(from)),
                 "r"(bytes)
                 : "memory");
}
__device__ __forceinline__ void tma_store_commit() { asm volatile("cp.async.bulk.commit_group;" ::: "memory"); }
// Returns when all but the thread's last N groups are written; wait_read: when their shared memory may be used again.
// One of them stands before the thread's end.
template <int N>
__device__ __forceinline__ void tma_store_wait() {
    asm volatile("cp.async.bulk.wait_group %0;" ::"n"(N) : "memory");
}
template <int N>
__device__ __forceinline__ void tma_store_wait_read() {
    asm volatile("cp.async.bulk.wait_group.read %0;" ::"n"(N) : "memory");
}

// ---- wgmma: the four warps of a warpgroup together, d (64 x N) += a (64 x K) b (K x N) ----
//
// Register i of thread t of the warpgroup holds row 16 (t / 32) + t % 32 / 4 + 8 (i / 2 % 2), column 8 (i / 4) +
// 2 (t % 4) + i % 2. wgmma_fence comes after the last touch of the registers of d, or of a, and before the first
// product that uses them; after wgmma_wait they may be touched again. Both take the accumulators, so that the compiler
// moves no use of them across.

template <size_t N>
__device__ __forceinline__ void hold(float (&d)[N]) {
#pragma unroll
    for (size_t i = 0; i < N; i++) asm volatile("" : "+f"(d[i])::"memory");
}

template <class... D>
__device__ __forceinline__ void wgmma_fence(D &...d) {
    (hold(d), ...);
    asm volatile("wgmma.fence.sync.aligned;" ::: "memory");
}
__device__ __forceinline__ void wgmma_commit() { asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory"); }
// Returns when all but the last N groups are done.
template <int N, class... D>
__device__ __forceinline__ void wgmma_wait(D &...d) {
    asm volatile("wgmma.wait_group.sync.aligned %0;" ::"n"(N) : "memory");
    (hold(d), ...);
}

// ---- What is left ----

// Warpgroups hand registers to each other: N of each thread from now on.
template <int N>
__device__ __forceinline__ void setmaxnreg_inc() {
    asm volatile("setmaxnreg.inc.sync.aligned.u32 %0;" ::"n"(N));
}
template <int N>
__device__ __forceinline__ void setmaxnreg_dec() {
    asm volatile("setmaxnreg.dec.sync.aligned.u32 %0;" ::"n"(N));
}

// True for one lane of the warp, which is always the same.
__device__ __forceinline__ bool elect_one() {
    uint32_t elected;
    asm volatile(
        "{\n"
        ".reg .pred p;\n"
        "elect.sync _|p, 0xffffffff;\n"
        "selp.b32 %0, 1, 0, p;\n"
        "}"
        : "=r"(elected)::"memory");
    return elected != 0;
}

template <bool TRANSPOSED = false>
__device__ __forceinline__ void stmatrix(void *row, const uint32_t (&fragment)[4]) {
    if constexpr (TRANSPOSED)
        asm volatile(
            "stmatrix.sync.aligned.m8n8.x4.trans.shared.b16 [%0], {%1, %2, %3, %4};" ::"r"(shared_address(row)),
            "r"(fragment[0]), "r"(fragment[1]), "r"(fragment[2]), "r"(fragment[3])
            : "memory");
    else
        asm volatile("stmatrix.sync.aligned.m8n8.x4.shared.b16 [%0], {%1, %2, %3, %4};" ::"r"(shared_address(row)),
                     "r"(fragment[0]), "r"(fragment[1]), "r"(fragment[2]), "r"(fragment[3])
                     : "memory");
}

#endif  // PANAMOE_SM90

}  // namespace panamoe::cuda

#if PANAMOE_SM90
#include "wgmma_sm90.cuh"
#endif

#endif  // PANAMOE_EMULATOR

namespace panamoe::cuda {

// ---- Matrix descriptors for wgmma ----
//
// A tile is made of 16-byte pieces. K-major, swizzled: 8 rows lie behind each other in swizzle_span bytes each, stride
// is the distance to the next 8 rows; leading is not used. MN-major, swizzled: 8 rows of K lie behind each other, each
// swizzle_span bytes of M or N; stride is the distance to the next 8 rows of K, leading that to the next columns.
// Without a swizzle 8 pieces lie behind each other: leading is the distance to the next 8 along K, stride along M or N.
// Tiles swizzled by 128 bytes begin at a multiple of 1024.
__device__ __forceinline__ uint64_t matrix_descriptor(const void *tile, Swizzle swizzle, uint32_t stride,
                                                      uint32_t leading = 16) {
    uint64_t mode = (4 - static_cast<uint64_t>(swizzle)) % 4;
    return (uint64_t{shared_address(tile)} & 0x3ffff) >> 4 | uint64_t{leading >> 4} << 16 |
           uint64_t{stride >> 4} << 32 | mode << 62;
}

// The same tile from bytes further on: 32 for the next K of one instruction.
__device__ __forceinline__ uint64_t advance(uint64_t descriptor, uint32_t bytes) { return descriptor + (bytes >> 4); }

}  // namespace panamoe::cuda
