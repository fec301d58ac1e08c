// The emulator's own tests: kernels that are right give the same bits with every seed, kernels with a planted mistake
// give something else or fail with a text that names it.
#include <array>
#include <functional>
#include <set>

#include "boundary.hpp"
#include "check.hpp"
#include "emulator_kernels.cuh"

namespace {

using namespace panamoe::cuda;
using check::expect;
using panamoe::Error;
using panamoe::emulator::emulator_seed;

// What one launch did: the error's text, or "".
std::string attempt(const std::function<void()> &launches) {
    try {
        launches();
        return "";
    } catch (const Error &error) {
        return error.text;
    }
}

bool contains(const std::string &text, const std::string &part) { return text.find(part) != std::string::npos; }

constexpr int kSeeds = 20;

// run(y) launches and fills y. It must not fail, and give what is expected, with every seed.
template <class T>
void expect_right(const char *name, const std::vector<T> &expected, const std::function<void(std::vector<T> &)> &run) {
    for (int seed = 0; seed < kSeeds; seed++) {
        emulator_seed(static_cast<uint64_t>(seed));
        std::vector<T> y(expected.size());
        std::memset(y.data(), 0xff, y.size() * sizeof(T));
        std::string error = attempt([&] { run(y); });
        expect(error.empty(), "%s, seed %d: %s", name, seed, error.c_str());
        if (!error.empty()) return;
        for (size_t i = 0; i < y.size(); i++)
            if (std::memcmp(&y[i], &expected[i], sizeof(T)) != 0) {
                expect(false, "%s, seed %d: element %zu is %g, should be %g", name, seed, i, static_cast<double>(y[i]),
                       static_cast<double>(expected[i]));
                return;
            }
    }
}

// At least one seed must show that something is wrong; where it fails, the text must contain part.
template <class T>
void expect_caught(const char *name, const std::vector<T> &expected, const std::string &part,
                   const std::function<void(std::vector<T> &)> &run) {
    int wrong = 0, failed = 0;
    for (int seed = 0; seed < kSeeds; seed++) {
        emulator_seed(static_cast<uint64_t>(seed));
        std::vector<T> y(expected.size());
        std::memset(y.data(), 0xff, y.size() * sizeof(T));
        std::string error = attempt([&] { run(y); });
        if (!error.empty()) {
            expect(contains(error, part), "%s, seed %d: the text is \"%s\", should contain \"%s\"", name, seed,
                   error.c_str(), part.c_str());
            failed++;
        } else if (std::memcmp(y.data(), expected.data(), y.size() * sizeof(T)) != 0) {
            wrong++;
        }
    }
    expect(wrong + failed > 0, "%s: not caught with any of %d seeds", name, kSeeds);
    std::printf("%-28s caught with %2d of %d seeds: %d wrong, %d failed\n", name, wrong + failed, kSeeds, wrong,
                failed);
}

// ---- The pipeline ----

// Whole numbers, small enough that fp32 sums are exact in any order.
struct Gemm {
    static constexpr int M = 192, N = 128, K = 512;
    std::vector<uint16_t> a, b;
    std::vector<float> expected;

    Gemm() : a(size_t{M} * K), b(size_t{N} * K), expected(size_t{M} * N) {
        check::Random random(1);
        for (uint16_t &each : a) each = float_to_bf16(static_cast<float>(random.below(17) - 8));
        for (uint16_t &each : b) each = float_to_bf16(static_cast<float>(random.below(17) - 8));
        for (int m = 0; m < M; m++)
            for (int n = 0; n < N; n++) {
                float sum = 0;
                for (int k = 0; k < K; k++)
                    sum += bf16_to_float(a[static_cast<size_t>(m * K + k)]) *
                           bf16_to_float(b[static_cast<size_t>(n * K + k)]);
                expected[static_cast<size_t>(m * N + n)] = sum;
            }
    }

    template <Bug BUG>
    void run(std::vector<float> &y, Swizzle swizzle = Swizzle::bytes_128) const {
        constexpr int kStages = 2;
        auto matrix = [](const void *data, int element_bytes, int rows, int columns, uint32_t box_columns, Swizzle s) {
            uint64_t width = static_cast<uint64_t>(columns), height = static_cast<uint64_t>(rows);
            return TensorShape{data,
                               element_bytes,
                               2,
                               {width, height},
                               {0, width * static_cast<uint64_t>(element_bytes)},
                               {box_columns, 64},
                               s};
        };
        // Aligned, as TMA wants it.
        void *device_a, *device_b, *device_y;
        cudaMalloc(&device_a, a.size() * 2);
        cudaMalloc(&device_b, b.size() * 2);
        cudaMalloc(&device_y, y.size() * 4);
        cudaMemcpy(device_a, a.data(), a.size() * 2, cudaMemcpyDefault);
        cudaMemcpy(device_b, b.data(), b.size() * 2, cudaMemcpyDefault);
        cudaMemcpy(device_y, y.data(), y.size() * 4, cudaMemcpyDefault);
        std::string error = attempt([&] {
            launch("emulator_gemm", emulator_gemm<kStages, BUG>, dim3(2), dim3(256), emulator_gemm_bytes(kStages),
                   nullptr, tensor_map("a_MK", matrix(device_a, 2, M, K, 64, swizzle)),
                   tensor_map("b_NK", matrix(device_b, 2, N, K, 64, Swizzle::bytes_128)),
                   tensor_map("y_MN", matrix(device_y, 4, M, N, 32, Swizzle::none)), M, N, K);
        });
        cudaMemcpy(y.data(), device_y, y.size() * 4, cudaMemcpyDefault);
        for (void *each : {device_a, device_b, device_y})
            expect(cudaFree(each) == cudaSuccess, "wrote beyond device memory");
        if (!error.empty()) panamoe::fail("%s", error.c_str());
    }
};

void pipeline() {
    Gemm gemm;
    expect_right<float>("emulator_gemm", gemm.expected, [&](std::vector<float> &y) { gemm.run<Bug::none>(y); });
}

template <Bug BUG>
void caught(const Gemm &gemm, const char *name, const char *part) {
    expect_caught<float>(name, gemm.expected, part, [&](std::vector<float> &y) { gemm.run<BUG>(y); });
}

void pipeline_bugs() {
    Gemm gemm;
    caught<Bug::no_full_wait>(gemm, "no_full_wait", "");
    caught<Bug::no_empty_wait>(gemm, "no_empty_wait", "");
    caught<Bug::wrong_parity>(gemm, "wrong_parity", "deadlock");
    caught<Bug::early_release>(gemm, "early_release", "");
    caught<Bug::one_warp_releases>(gemm, "one_warp_releases", "");
    caught<Bug::too_few_bytes>(gemm, "too_few_bytes", "");
    caught<Bug::too_many_bytes>(gemm, "too_many_bytes", "16 bytes missing");
    expect_caught<float>("wrong_swizzle", gemm.expected, "",
                         [&](std::vector<float> &y) { gemm.run<Bug::none>(y, Swizzle::none); });
    caught<Bug::wrong_stride>(gemm, "wrong_stride", "");
    caught<Bug::wrong_advance>(gemm, "wrong_advance", "");
    caught<Bug::no_wgmma_wait>(gemm, "no_wgmma_wait", "without a wgmma_wait");
    caught<Bug::no_wgmma_fence>(gemm, "no_wgmma_fence", "without a wgmma_fence");
    caught<Bug::no_wgmma_commit>(gemm, "no_wgmma_commit", "");
    caught<Bug::no_init_fence>(gemm, "no_init_fence", "before its fence_barrier_init");
    caught<Bug::no_init_barrier>(gemm, "no_init_barrier", "there is no mbarrier");
    caught<Bug::no_proxy_fence>(gemm, "no_proxy_fence", "");
    caught<Bug::no_barrier_before_store>(gemm, "no_barrier_before_store", "");
    caught<Bug::wrong_barrier_count>(gemm, "wrong_barrier_count", "named barrier 2 at emulator_kernels.cuh");
    caught<Bug::no_store_wait>(gemm, "no_store_wait", "");
    caught<Bug::no_last_store_wait>(gemm, "no_last_store_wait", "ends before its store");
}

// ---- Plain kernels ----

struct Sum {
    std::vector<float> x, expected;
    Sum() : x(1000), expected(7, 0) {
        check::Random random(2);
        for (float &each : x) each = static_cast<float>(random.below(100));
        for (float each : x)
            for (float &sum : expected) sum += each;
    }
    template <PlainBug BUG>
    void run(std::vector<float> &y) const {
        launch("emulator_sum", emulator_sum<BUG>, dim3(7), dim3(256), 8 * 4, nullptr, y.data(), x.data(), 1000);
    }
    template <PlainBug BUG>
    void caught(const char *name, const char *part) const {
        expect_caught<float>(name, expected, part, [&](std::vector<float> &y) { run<BUG>(y); });
    }
};

struct Pipe {
    std::vector<int> x;
    Pipe() : x(64 * 20) {
        for (size_t i = 0; i < x.size(); i++) x[i] = static_cast<int>(i);
    }
    template <PlainBug BUG>
    void run(std::vector<int> &y) const {
        launch("emulator_pipe", emulator_pipe<BUG>, dim3(1), dim3(128), 128 * 4, nullptr, y.data(), x.data(), 20);
    }
    template <PlainBug BUG>
    void caught(const char *name, const char *part) const {
        expect_caught<int>(name, x, part, [&](std::vector<int> &y) { run<BUG>(y); });
    }
};

void barriers() {
    Sum sum;
    expect_right<float>("emulator_sum", sum.expected, [&](std::vector<float> &y) { sum.run<PlainBug::none>(y); });
    sum.caught<PlainBug::no_sync>("no __syncthreads", "");
    sum.caught<PlainBug::divergent_sync>("divergent __syncthreads", "__syncthreads at emulator_kernels.cuh");
    sum.caught<PlainBug::missing_lane>("missing lane", "lanes 0x2000 missing");
    sum.caught<PlainBug::beyond>("beyond shared memory", "wrote beyond its 32 bytes of shared memory");
    sum.caught<PlainBug::below>("below shared memory", "wrote below its shared memory");
    Pipe pipe;
    expect_right<int>("emulator_pipe", pipe.x, [&](std::vector<int> &y) { pipe.run<PlainBug::none>(y); });
    pipe.caught<PlainBug::no_sync>("no named barrier", "");
    pipe.caught<PlainBug::too_few>("too few for the barrier", "");
    pipe.caught<PlainBug::different_counts>("different counts", "named barrier 1: ");
}

}  // namespace

int main(int argc, char **argv) {
    return check::run(argc, argv, {{"pipeline", pipeline}, {"pipeline_bugs", pipeline_bugs}, {"barriers", barriers}});
}
