// pm_measure: the limits of the machine, measured with all threads of the context.
#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstring>
#include <vector>

#include "checks.hpp"
#include "cpu_context.hpp"
#include "isa.hpp"

using namespace panamoe;

namespace {

// The median of several passes: what kernels' medians can be held against. The best pass is luck, in a virtual machine
// also of the clock.
template <class Pass>
double median_seconds(size_t passes, Pass pass) {
    std::vector<double> seconds;
    while (seconds.size() < passes) {
        auto start = std::chrono::steady_clock::now();
        pass();
        std::chrono::duration<double> taken = std::chrono::steady_clock::now() - start;
        seconds.push_back(taken.count());
    }
    auto middle = seconds.begin() + static_cast<std::ptrdiff_t>(passes / 2);
    std::nth_element(seconds.begin(), middle, seconds.end());
    return *middle;
}

// In slices of a few milliseconds; the buffer is so long that no cache holds a slice until its turn comes again.
double read_bandwidth(pm_context *ctx) {
    constexpr int64_t kBytes = int64_t{256} << 20, kSlice = int64_t{32} << 20, kPiece = int64_t{1} << 18;
    Aligned buffer = allocate_aligned("measure", kBytes);
    auto *data = static_cast<Byte *>(buffer.get());
    // Written first, so that every page is memory of its own and not the shared page of zeros.
    ctx->threads->run(kBytes / kPiece, [&](int64_t piece, int) { std::memset(data + piece * kPiece, 1, kPiece); });
    std::atomic<int32_t> kept = 0;
    const Byte *slice = data;
    double seconds = median_seconds(40, [&] {
        ctx->threads->run(kSlice / kPiece,
                          [&](int64_t piece, int) { kept += ctx->isa->read(slice + piece * kPiece, kPiece); });
        slice = slice + kSlice < data + kBytes ? slice + kSlice : data;
    });
    return static_cast<double>(kSlice) / seconds;
}

// compute(steps, &result), from a result that is start, says how many operations it did.
template <class Result>
double rate(pm_context *ctx, int64_t (*compute)(int64_t, Result *), Result start) {
    constexpr int64_t kSteps = 20000;
    int64_t pieces = int64_t{8} * ctx->threads->count();
    std::atomic<int64_t> operations = 0;
    std::atomic<Result> kept{};
    auto pass = [&] {
        operations = 0;
        ctx->threads->run(pieces, [&](int64_t, int) {
            Result result = start;
            operations += compute(kSteps, &result);
            kept = result;
        });
    };
    double seconds = median_seconds(20, pass);
    return static_cast<double>(operations) / seconds;
}

double measured(pm_context *ctx, int32_t quantity) {
    switch (quantity) {
        case PM_READ_BANDWIDTH: return read_bandwidth(ctx);
        case PM_FMA_RATE: return rate(ctx, ctx->isa->multiply_add, 1.0f);
        default: return rate(ctx, ctx->isa->multiply_codes, 0x01020304);
    }
}

}  // namespace

int32_t pm_measure(pm_context *ctx, int32_t quantity, float *result) {
    return guarded(ctx, [&] {
        require_measure(quantity, result);
        *result = static_cast<float>(measured(ctx, quantity));
    });
}
