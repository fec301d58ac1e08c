// What a kernel finds on the device, for the host compiler. Everything here calls the block that runs (emulator.hpp).
#pragma once

#include <cuda_runtime.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <tuple>
#include <type_traits>

#include "asynchronous.hpp"
#include "boundary.hpp"
#include "emulator.hpp"

extern uint3 threadIdx, blockIdx;
extern dim3 blockDim, gridDim;

// ---- Barriers and what the lanes of a warp do together ----

inline void __syncthreads(panamoe::emulator::Where where = panamoe::emulator::Where::current()) {
    panamoe::emulator::block->sync_threads(false, where);
}
inline int __syncthreads_count(int predicate, panamoe::emulator::Where where = panamoe::emulator::Where::current()) {
    return panamoe::emulator::block->sync_threads(predicate != 0, where);
}
inline int __syncthreads_or(int predicate, panamoe::emulator::Where where = panamoe::emulator::Where::current()) {
    return panamoe::emulator::block->sync_threads(predicate != 0, where) != 0;
}
inline int __syncthreads_and(int predicate, panamoe::emulator::Where where = panamoe::emulator::Where::current()) {
    return panamoe::emulator::block->sync_threads(predicate == 0, where) == 0;
}

inline void __syncwarp(unsigned mask = ~0u, panamoe::emulator::Where where = panamoe::emulator::Where::current()) {
    panamoe::emulator::block->meet(mask, panamoe::emulator::Collective::sync, 0, 0, where);
}

namespace panamoe::emulator {

// Lane source of each group of width lanes; a source outside the group means the lane itself.
template <class T>
T shuffle(unsigned mask, T value, int source, int width, Where where) {
    static_assert(sizeof(T) <= sizeof(uint64_t) && std::is_trivially_copyable_v<T>);
    int lane = static_cast<int>(block->lane()), first = lane & ~(width - 1);
    if (source < first || source >= first + width) source = lane;
    uint64_t sent = 0;
    std::memcpy(&sent, &value, sizeof value);
    sent = block->meet(mask, Collective::shuffle, sent, static_cast<unsigned>(source), where);
    std::memcpy(&value, &sent, sizeof value);
    return value;
}

}  // namespace panamoe::emulator

template <class T>
T __shfl_sync(unsigned mask, T value, int source, int width = 32,
              panamoe::emulator::Where where = panamoe::emulator::Where::current()) {
    int first = static_cast<int>(panamoe::emulator::block->lane()) & ~(width - 1);
    return panamoe::emulator::shuffle(mask, value, first + (source & (width - 1)), width, where);
}
template <class T>
T __shfl_xor_sync(unsigned mask, T value, int bits, int width = 32,
                  panamoe::emulator::Where where = panamoe::emulator::Where::current()) {
    // Unlike the others, this one may read from groups below the lane's own.
    int lane = static_cast<int>(panamoe::emulator::block->lane()), source = lane ^ bits;
    if (source >= (lane & ~(width - 1)) + width) source = lane;
    return panamoe::emulator::shuffle(mask, value, source, 32, where);
}
template <class T>
T __shfl_up_sync(unsigned mask, T value, unsigned delta, int width = 32,
                 panamoe::emulator::Where where = panamoe::emulator::Where::current()) {
    int lane = static_cast<int>(panamoe::emulator::block->lane());
    return panamoe::emulator::shuffle(mask, value, lane - static_cast<int>(delta), width, where);
}
template <class T>
T __shfl_down_sync(unsigned mask, T value, unsigned delta, int width = 32,
                   panamoe::emulator::Where where = panamoe::emulator::Where::current()) {
    int lane = static_cast<int>(panamoe::emulator::block->lane());
    return panamoe::emulator::shuffle(mask, value, lane + static_cast<int>(delta), width, where);
}

inline unsigned __ballot_sync(unsigned mask, int predicate,
                              panamoe::emulator::Where where = panamoe::emulator::Where::current()) {
    return static_cast<unsigned>(
        panamoe::emulator::block->meet(mask, panamoe::emulator::Collective::ballot, predicate != 0, 0, where));
}
inline int __any_sync(unsigned mask, int predicate,
                      panamoe::emulator::Where where = panamoe::emulator::Where::current()) {
    return __ballot_sync(mask, predicate, where) != 0;
}
inline int __all_sync(unsigned mask, int predicate,
                      panamoe::emulator::Where where = panamoe::emulator::Where::current()) {
    return __ballot_sync(mask, !predicate, where) == 0;
}

// ---- Memory: a thread is never interrupted but where it waits, so atomics are plain ----

template <class T>
T atomicAdd(T *address, T value) {
    T old = *address;
    *address = old + value;
    return old;
}
template <class T>
T atomicMax(T *address, T value) {
    T old = *address;
    *address = old < value ? value : old;
    return old;
}
template <class T>
T atomicMin(T *address, T value) {
    T old = *address;
    *address = value < old ? value : old;
    return old;
}
template <class T>
T atomicExch(T *address, T value) {
    T old = *address;
    *address = value;
    return old;
}
template <class T>
T atomicCAS(T *address, T expected, T value) {
    T old = *address;
    if (old == expected) *address = value;
    return old;
}
template <class T>
T __ldg(const T *address) {
    return *address;
}
inline void __threadfence() {}
inline void __threadfence_block() {}

// ---- Arithmetic ----

inline int __popc(unsigned x) { return std::popcount(x); }
inline int __popcll(unsigned long long x) { return std::popcount(x); }
inline int __clz(int x) { return std::countl_zero(static_cast<unsigned>(x)); }
inline int __ffs(int x) { return __builtin_ffs(x); }
inline float __int_as_float(int x) { return std::bit_cast<float>(x); }
inline float __uint_as_float(unsigned x) { return std::bit_cast<float>(x); }
inline int __float_as_int(float x) { return std::bit_cast<int>(x); }
inline unsigned __float_as_uint(float x) { return std::bit_cast<unsigned>(x); }
inline float __fmaf_rn(float x, float y, float z) { return fmaf(x, y, z); }
inline float __fadd_rn(float x, float y) { return x + y; }
inline float __fmul_rn(float x, float y) { return x * y; }
inline float __fdiv_rn(float x, float y) { return x / y; }
inline float __frcp_rn(float x) { return 1 / x; }
inline float __fsqrt_rn(float x) { return sqrtf(x); }
inline float rsqrtf(float x) { return 1 / sqrtf(x); }  // the device's own is good to 2 ulp

// CUDA has these without a namespace.
template <class T>
requires std::is_arithmetic_v<T>
constexpr T min(T a, T b) { return b < a ? b : a; }
template <class T>
requires std::is_arithmetic_v<T>
constexpr T max(T a, T b) { return a < b ? b : a; }

namespace panamoe::cuda {

// The block's dynamic shared memory, aligned to 1024 bytes. There is no other.
inline unsigned char *shared_memory() { return panamoe::emulator::block->shared(); }

// Runs kernel(args...) on grid blocks of block threads, each block with smem bytes of shared memory. Throws Error,
// which names the kernel.
template <class... P, class... A>
void launch(const char *name, void (*kernel)(P...), dim3 grid, dim3 block, size_t smem, cudaStream_t, A... args) {
    using Call = std::tuple<void (*)(P...), P...>;
    Call call(kernel, static_cast<P>(args)...);
    auto run_thread = [](const void *thread_call) {
        std::apply([](auto function, const P &...arguments) { function(arguments...); },
                   *static_cast<const Call *>(thread_call));
    };
    panamoe::emulator::run({name, grid, block, smem, run_thread, &call});
}

// ---- sm_90a: see device.cuh for what they mean ----

using emulator::TensorMap;

inline TensorMap tensor_map(const char *name, const TensorShape &shape) {
    check_tensor_map(name, shape);
    return {shape, emulator::kValidMap};
}

using emulator::Where;

inline uint32_t shared_address(const void *pointer, Where where = Where::current()) {
    return emulator::Asynchronous::address(emulator::block->asynchronous().offset(pointer, 0, "shared_address", where));
}

inline void mbarrier_init(uint64_t *barrier, unsigned count, Where where = Where::current()) {
    emulator::block->asynchronous().init(barrier, count, where);
}
inline void mbarrier_arrive(uint64_t *barrier, Where where = Where::current()) {
    emulator::block->asynchronous().arrive(barrier, 0, where);
}
inline void mbarrier_arrive_expect(uint64_t *barrier, unsigned bytes, Where where = Where::current()) {
    emulator::block->asynchronous().arrive(barrier, bytes, where);
}
inline void mbarrier_wait(uint64_t *barrier, unsigned parity, Where where = Where::current()) {
    emulator::block->asynchronous().wait(barrier, parity, where);
}
inline void fence_barrier_init() { emulator::block->asynchronous().fence_barrier_init(); }
inline void fence_proxy_async(Where where = Where::current()) { emulator::block->asynchronous().fence_proxy(where); }

inline void fence_tensor_map(const TensorMap *) {}
inline void prefetch(const TensorMap *) {}
inline void tma_load(const TensorMap *map, uint64_t *barrier, void *to, int x, int y, Where where = Where::current()) {
    emulator::block->asynchronous().copies.load(map, 2, barrier, to, x, y, 0, where);
}
inline void tma_load(const TensorMap *map, uint64_t *barrier, void *to, int x, int y, int z,
                     Where where = Where::current()) {
    emulator::block->asynchronous().copies.load(map, 3, barrier, to, x, y, z, where);
}
inline void tma_store(const TensorMap *map, const void *from, int x, int y, Where where = Where::current()) {
    emulator::block->asynchronous().copies.store(map, 2, from, x, y, 0, where);
}
inline void tma_store(const TensorMap *map, const void *from, int x, int y, int z, Where where = Where::current()) {
    emulator::block->asynchronous().copies.store(map, 3, from, x, y, z, where);
}
inline void bulk_load(uint64_t *barrier, void *to, const void *from, unsigned bytes, Where where = Where::current()) {
    emulator::block->asynchronous().copies.bulk_load(barrier, to, from, bytes, where);
}
inline void bulk_store(void *to, const void *from, unsigned bytes, Where where = Where::current()) {
    emulator::block->asynchronous().copies.bulk_store(to, from, bytes, where);
}
inline void tma_store_commit() { emulator::block->asynchronous().copies.commit_stores(); }
template <int N>
void tma_store_wait(Where where = Where::current()) {
    emulator::block->asynchronous().copies.wait_stores(N, false, where);
}
template <int N>
void tma_store_wait_read(Where where = Where::current()) {
    emulator::block->asynchronous().copies.wait_stores(N, true, where);
}

template <class... D>
void wgmma_fence(D &...) {  // the accumulators are of interest to nvcc alone
    emulator::block->asynchronous().matrix.fence();
}
inline void wgmma_commit(Where where = Where::current()) { emulator::block->asynchronous().matrix.commit(where); }
template <int N>
void wgmma_wait(Where where = Where::current()) {
    emulator::block->asynchronous().matrix.wait(N, where);
}
template <int N, size_t COUNT>
void wgmma_wait(float (&)[COUNT], Where where = Where::current()) {
    emulator::block->asynchronous().matrix.wait(N, where);
}
template <int N, size_t FIRST, size_t SECOND>
void wgmma_wait(float (&)[FIRST], float (&)[SECOND], Where where = Where::current()) {
    emulator::block->asynchronous().matrix.wait(N, where);
}
template <int N, Major A = Major::k, Major B = Major::k>
void wgmma_bf16(float (&d)[N / 2], uint64_t a, uint64_t b, bool accumulate, Where where = Where::current()) {
    static_assert(N % 8 == 0 && N >= 8 && N <= 256);
    emulator::block->asynchronous().matrix.issue(
        {emulator::Element::bf16, false, A == Major::mn, B == Major::mn, accumulate, N, a, b}, d, nullptr, where);
}
template <int N, Major B = Major::k>
void wgmma_bf16(float (&d)[N / 2], const uint32_t (&a)[4], uint64_t b, bool accumulate,
                Where where = Where::current()) {
    static_assert(N % 8 == 0 && N >= 8 && N <= 256);
    emulator::block->asynchronous().matrix.issue(
        {emulator::Element::bf16, true, false, B == Major::mn, accumulate, N, 0, b}, d, a, where);
}
template <int N>
void wgmma_e4m3(float (&d)[N / 2], uint64_t a, uint64_t b, bool accumulate, Where where = Where::current()) {
    static_assert(N % 8 == 0 && N >= 8 && N <= 256);
    emulator::block->asynchronous().matrix.issue({emulator::Element::e4m3, false, false, false, accumulate, N, a, b}, d,
                                                 nullptr, where);
}

template <int N>
void setmaxnreg_inc(Where where = Where::current()) {
    emulator::block->set_registers(N, true, where);
}
template <int N>
void setmaxnreg_dec(Where where = Where::current()) {
    emulator::block->set_registers(N, false, where);
}
inline void named_barrier_sync(unsigned id, unsigned threads, Where where = Where::current()) {
    emulator::block->named_barrier(id, threads, true, where);
}
inline void named_barrier_arrive(unsigned id, unsigned threads, Where where = Where::current()) {
    emulator::block->named_barrier(id, threads, false, where);
}
inline bool elect_one(Where where = Where::current()) { return emulator::block->elect_one(where); }

template <bool TRANSPOSED = false>
void ldmatrix(uint32_t (&fragment)[4], const void *row, Where where = Where::current()) {
    emulator::block->load_matrices(fragment, row, TRANSPOSED, where);
}
template <bool TRANSPOSED = false>
void stmatrix(void *row, const uint32_t (&fragment)[4], Where where = Where::current()) {
    emulator::block->store_matrices(fragment, row, TRANSPOSED, where);
}

}  // namespace panamoe::cuda
