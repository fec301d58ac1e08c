// measure: the limits of the device that the other kernels are judged by, timed by its own events.
#include <algorithm>
#include <memory>

#include "cuda_context.hpp"
#include "work.cuh"

namespace panamoe::cuda {
namespace {

constexpr int kMostThreads = 256;
constexpr int kBlocksOfMultiprocessor = 8;

// Reads n vectors, with as few instructions as possible. Writes hardly ever, but the compiler cannot know.
__global__ void __launch_bounds__(kMostThreads) read_all(const uint4 *data, int64_t n, unsigned *sink) {
    constexpr int kAtOnce = 8;
    unsigned all = 0;
    int64_t step = int64_t{gridDim.x} * blockDim.x;
    for (int64_t i = int64_t{blockIdx.x} * blockDim.x + threadIdx.x; i < n; i += kAtOnce * step) {
#pragma unroll
        for (int j = 0; j < kAtOnce; j++) {
            if (i + j * step >= n) continue;
            uint4 v = data[i + j * step];
            all ^= v.x ^ v.y ^ v.z ^ v.w;
        }
    }
    if (all == 0x2545f491u) *sink = all;
}

constexpr int kChains = 8;  // more than latency times throughput of a multiprocessor needs with all its warps

__global__ void __launch_bounds__(kMostThreads) multiply_add(int64_t steps, float factor, float term, float *sink) {
    float sum[kChains];
#pragma unroll
    for (int i = 0; i < kChains; i++) sum[i] = static_cast<float>(threadIdx.x) + static_cast<float>(i);
    for (int64_t step = 0; step < steps; step++) {
#pragma unroll
        for (int i = 0; i < kChains; i++) sum[i] = fmaf(sum[i], factor, term);
    }
#pragma unroll
    for (int i = 1; i < kChains; i++) sum[0] += sum[i];
    if (sum[0] == -1) *sink = sum[0];
}

struct Destroy {
    void operator()(cudaEvent_t event) const { cudaEventDestroy(event); }
};
using Event = std::unique_ptr<std::remove_pointer_t<cudaEvent_t>, Destroy>;

Event create_event(const pm_context &ctx) {
    cudaEvent_t event = nullptr;
    require_success(ctx, "measure", cudaEventCreate(&event));
    return Event(event);
}

// The best of several passes: what disturbs a pass only ever makes it slower.
template <class Pass>
double best_seconds(const pm_context &ctx, Pass pass) {
    Event start = create_event(ctx), end = create_event(ctx);
    double best = 1e9;
    for (int i = 0; i < 6; i++) {
        require_success(ctx, "measure", cudaEventRecord(start.get(), ctx.stream));
        pass();
        require_success(ctx, "measure", cudaEventRecord(end.get(), ctx.stream));
        require_success(ctx, "measure", cudaEventSynchronize(end.get()));
        float milliseconds = 0;
        require_success(ctx, "measure", cudaEventElapsedTime(&milliseconds, start.get(), end.get()));
        best = std::min(best, milliseconds * 1e-3);
    }
    return best;
}

DeviceMemory allocate(const pm_context &ctx, size_t bytes) {
    void *data = nullptr;
    require_success(ctx, "measure", cudaMalloc(&data, bytes));
    require_success(ctx, "measure", cudaMemsetAsync(data, 1, bytes, ctx.stream));
    return DeviceMemory(data);
}

dim3 all_blocks(const pm_context &ctx) {
    return dim3(static_cast<unsigned>(ctx.multiprocessors * kBlocksOfMultiprocessor));
}

double read_bandwidth(const pm_context &ctx) {
    // Several times what caches hold, if there is so much left.
    constexpr size_t kBytesOfMultiprocessor = size_t{8} << 20;
    size_t free = 0, total = 0;
    require_success(ctx, "measure", cudaMemGetInfo(&free, &total));
    size_t bytes = std::min(static_cast<size_t>(ctx.multiprocessors) * kBytesOfMultiprocessor, free / 2);
    auto n = static_cast<int64_t>(bytes / sizeof(uint4));
    DeviceMemory data = allocate(ctx, bytes), sink = allocate(ctx, sizeof(unsigned));
    double seconds = best_seconds(ctx, [&] {
        launch("measure", read_all, all_blocks(ctx), dim3(kMostThreads), 0, ctx.stream,
               static_cast<const uint4 *>(data.get()), n, static_cast<unsigned *>(sink.get()));
    });
    return static_cast<double>(n) * sizeof(uint4) / seconds;
}

double fma_rate(const pm_context &ctx) {
    // More steps on a larger device, which does them faster: a pass takes some tenths of a millisecond. The emulated
    // device is a small one.
    int64_t steps = 16 * ctx.multiprocessors;
    DeviceMemory sink = allocate(ctx, sizeof(float));
    dim3 blocks = all_blocks(ctx);
    double seconds = best_seconds(ctx, [&] {
        launch("measure", multiply_add, blocks, dim3(kMostThreads), 0, ctx.stream, steps, 0.5f, 0.25f,
               static_cast<float *>(sink.get()));
    });
    return 2.0 * kChains * static_cast<double>(steps) * blocks.x * kMostThreads / seconds;
}

}  // namespace
}  // namespace panamoe::cuda

using namespace panamoe;
using namespace panamoe::cuda;

int32_t pm_measure(pm_context *ctx, int32_t quantity, float *result) {
    return on_device(ctx, "measure", [&] {
        require_measure(quantity, result);
        *result = static_cast<float>(quantity == PM_READ_BANDWIDTH ? read_bandwidth(*ctx)
                                     : quantity == PM_FMA_RATE     ? fma_rate(*ctx)
                                                                   : 0);
    });
}
