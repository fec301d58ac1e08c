// What a context of the CUDA back end holds: one device, one stream. The same sources make libpanamoe_cuda and, with
// the emulator as their device, libpanamoe_cudaemu.
#pragma once

#include <cuda_runtime.h>

#include <cstdint>
#include <memory>
#include <vector>

#include "checks.hpp"
#include "contexts.hpp"
#include "faults.hpp"

namespace panamoe::cuda {

struct FreeDevice {
    void operator()(void *data) const { cudaFree(data); }
};
using DeviceMemory = std::unique_ptr<void, FreeDevice>;

// A table of weight pointers, on the device, as far as grouped_gemm's tensor kernel has prepared it: see
// tensor_gemm.cu.
struct WeightTable {
    const void *const *w_E;
    int32_t E, F, D, format;
    DeviceMemory maps;  // one TensorMap for each expert; empty: the kernel does not take these weights
};

// Memory that only grows. What was given once stays allocated until pm_close: a captured graph may use it.
struct Scratch {
    std::vector<DeviceMemory> given;  // the last one is in use
    size_t bytes = 0;                 // of the last one
};

}  // namespace panamoe::cuda

struct pm_context {
    panamoe::Session session;
    int device = 0;
    int multiprocessors = 0;
    bool owns_stream = false;
    cudaStream_t stream = nullptr;
    bool tensor = false;                // tensor cores where they can, in their precision: math=tensor
    panamoe::Fault *fault = nullptr;    // in the device's memory
    const char *last_call = "no call";  // for errors that surface later
    std::vector<panamoe::cuda::WeightTable> weight_tables;
    panamoe::cuda::Scratch scratch, steps;
};

namespace panamoe::cuda {

// Throws Error "<operation>: <what CUDA says>" unless status is cudaSuccess.
void require_success(const pm_context &ctx, const char *operation, cudaError_t status);

// Waits for everything that was enqueued. Throws Error where that failed and, if report_fault, where a kernel met a bad
// index since this was last reported.
void wait(pm_context &ctx, const char *operation, bool report_fault);

// Memory for what one function's kernels leave to its next ones: bytes of it, aligned to 256. Each call may get the
// same memory, so nothing in it outlives the function.
unsigned char *scratch(pm_context &ctx, const char *operation, size_t bytes);

// The same for what the functions that a fused one is made of leave to each other; they may use scratch.
unsigned char *between_steps(pm_context &ctx, const char *operation, size_t bytes);

// guarded, with the context's device made current.
template <class Body>
int32_t on_device(pm_context *ctx, const char *operation, Body body) {
    return guarded(ctx, [&] {
        require_success(*ctx, operation, cudaSetDevice(ctx->device));
        body();
    });
}

// A function that enqueues kernels: body(operation).
template <class Body>
int32_t enqueue(pm_context *ctx, const char *operation, Body body) {
    return on_device(ctx, operation, [&] {
        body(operation);
        ctx->last_call = operation;
    });
}

// Activations and index arrays: not NULL, and aligned to their elements of 4 bytes.
inline void require_arrays(const char *operation, std::initializer_list<Pointer> pointers) {
    require_pointers(operation, pointers);
    for (const Pointer &pointer : pointers)
        require(reinterpret_cast<uintptr_t>(pointer.value) % 4 == 0, "%s: %s is at %p, which is no multiple of 4",
                operation, pointer.name, pointer.value);
}

}  // namespace panamoe::cuda
