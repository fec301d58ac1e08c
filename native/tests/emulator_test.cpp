// The emulator's own tests: kernels that are right give the same bits with every seed, kernels with a planted mistake
// give something else or fail with a text that names it.
#include <algorithm>
#include <array>
#include <functional>
#include <set>
#include <thread>

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

// ---- Products: all layouts that a descriptor can name ----

// The bytes of a tile of rows x K elements in shared memory, as TMA puts them there: for K-major boxes of one swizzle
// span of K and all rows, for MN-major boxes of all K and one span of rows. Without a swizzle, 8 x 16-byte pieces.
struct Image {
    std::vector<unsigned char> bytes;
    uint32_t stride, leading;

    Image(const std::vector<unsigned char> &elements, int rows, int K, int element_bytes, Swizzle swizzle,
          Major major) {
        uint32_t span = swizzle_span(swizzle), height = static_cast<uint32_t>(rows), depth = static_cast<uint32_t>(K);
        uint32_t size = static_cast<uint32_t>(element_bytes), per_span = span / size;
        bool plain = swizzle == Swizzle::none, k_major = major == Major::k;
        if (plain) {
            stride = k_major ? depth * size * 8 : 128;
            leading = k_major ? 128 : (height + 7) / 8 * 128;
        } else {
            stride = 8 * span;
            leading = k_major ? 16 : depth * span;
        }
        uint32_t wide = (height + per_span - 1) / per_span;
        bytes.resize(plain ? (height + 7) / 8 * 8 * depth * size : k_major ? height * span : wide * depth * span);
        for (uint32_t r = 0; r < height; r++)
            for (uint32_t k = 0; k < depth; k++) {
                uint32_t at;
                if (plain)
                    at = k_major ? r / 8 * stride + k * size / 16 * leading + r % 8 * 16 + k * size % 16
                                 : r / 8 * stride + k / 8 * leading + k % 8 * 16 + r % 8 * size;
                else
                    at = k_major ? r * span + k * size : r / per_span * leading + k * span + r % per_span * size;
                at = swizzled(at, swizzle);
                std::memcpy(&bytes[at], &elements[(r * depth + k) * size], size);
            }
    }
};

template <int N, ProductKind KIND, Major A, Major B, Bug BUG = Bug::none>
void product(Swizzle swizzle) {
    constexpr int K = KIND == ProductKind::e4m3 ? 32 : 16, kBytes = KIND == ProductKind::e4m3 ? 1 : 2;
    check::Random random(3);
    auto draw = [&](int rows, std::vector<float> &values) {
        std::vector<unsigned char> elements;
        for (int i = 0; i < rows * K; i++) {
            float value = static_cast<float>(random.below(17) - 8);
            values.push_back(value);
            uint16_t bits = kBytes == 1 ? float_to_e4m3(value) : float_to_bf16(value);
            elements.push_back(static_cast<unsigned char>(bits));
            if (kBytes == 2) elements.push_back(static_cast<unsigned char>(bits >> 8));
        }
        return elements;
    };
    std::vector<float> a_values, b_values, expected(64 * N);
    std::vector<unsigned char> a_elements = draw(64, a_values), b_elements = draw(N, b_values);
    Image a(a_elements, 64, K, kBytes, swizzle, A), b(b_elements, N, K, kBytes, swizzle, B);
    for (int m = 0; m < 64; m++)
        for (int n = 0; n < N; n++) {
            float sum = 0;
            for (int k = 0; k < K; k++)
                sum += a_values[static_cast<size_t>(m * K + k)] * b_values[static_cast<size_t>(n * K + k)];
            expected[static_cast<size_t>(m * N + n)] = 2 * sum;
        }
    std::vector<uint32_t> registers(128 * 4);
    for (int t = 0; t < 128; t++)
        for (int i = 0; i < 4; i++) {
            size_t at = static_cast<size_t>((16 * (t / 32) + t % 32 / 4 + 8 * (i % 2)) * K + 2 * (t % 4) + 8 * (i / 2));
            registers[static_cast<size_t>(4 * t + i)] = float_to_bf16x2(a_values[at], a_values[at + 1]);
        }
    char name[80];
    std::snprintf(name, sizeof name, "N %d, kind %d, A %d, B %d, swizzle %d, bug %d", N, static_cast<int>(KIND),
                  static_cast<int>(A), static_cast<int>(B), static_cast<int>(swizzle), static_cast<int>(BUG));
    ProductTiles tiles{a.bytes.data(),
                       b.bytes.data(),
                       static_cast<uint32_t>(a.bytes.size()),
                       static_cast<uint32_t>(b.bytes.size()),
                       swizzle,
                       a.stride,
                       a.leading,
                       b.stride,
                       b.leading};
    auto run = [&](std::vector<float> &y) {
        launch("emulator_product", emulator_product<N, KIND, A, B, BUG>, dim3(1), dim3(128), 8192 + b.bytes.size(),
               nullptr, y.data(), tiles, registers.data());
    };
    if (BUG == Bug::none)
        expect_right<float>(name, expected, run);
    else
        expect_caught<float>(name, expected, "", run);
}

void products() {
    for (Swizzle swizzle : {Swizzle::none, Swizzle::bytes_32, Swizzle::bytes_64, Swizzle::bytes_128}) {
        product<8, ProductKind::shared, Major::k, Major::k>(swizzle);
        product<64, ProductKind::shared, Major::k, Major::k>(swizzle);
        product<64, ProductKind::shared, Major::mn, Major::mn>(swizzle);
        product<96, ProductKind::shared, Major::k, Major::mn>(swizzle);
        product<32, ProductKind::shared, Major::mn, Major::k>(swizzle);
        product<256, ProductKind::registers, Major::k, Major::mn>(swizzle);
        product<128, ProductKind::registers, Major::k, Major::k>(swizzle);
        product<16, ProductKind::e4m3, Major::k, Major::k>(swizzle);
        product<256, ProductKind::e4m3, Major::k, Major::k>(swizzle);
    }
    product<64, ProductKind::shared, Major::k, Major::k, Bug::no_proxy_fence>(Swizzle::bytes_128);
    product<64, ProductKind::registers, Major::k, Major::k, Bug::early_read>(Swizzle::bytes_128);
    product<64, ProductKind::e4m3, Major::k, Major::k, Bug::early_write>(Swizzle::bytes_128);
}

// ---- Copies ----

constexpr int kSize[3] = {70, 9, 5};  // in elements, rows and planes of a row of 96 elements, 10 rows

struct Box {
    int element_bytes, rank;
    uint32_t box[3];
    int3 corner;
    Swizzle swizzle;

    uint32_t bytes() const { return box[0] * box[1] * (rank == 3 ? box[2] : 1) * static_cast<uint32_t>(element_bytes); }
    TensorShape shape(const void *data) const {
        uint64_t size = static_cast<uint64_t>(element_bytes);
        return {data,
                element_bytes,
                rank,
                {kSize[0], kSize[1], kSize[2]},
                {0, 96 * size, 960 * size},
                {box[0], box[1], box[2]},
                swizzle};
    }
    // each(element in memory, byte in the box's image or -1 outside the tensor)
    template <class Each>
    void for_each(Each each) const {
        uint32_t planes = rank == 3 ? box[2] : 1;
        for (uint32_t i = 0; i < planes * box[1] * box[0]; i++) {
            int x = corner.x + static_cast<int>(i % box[0]), y = corner.y + static_cast<int>(i / box[0] % box[1]);
            int z = rank == 3 ? corner.z + static_cast<int>(i / box[0] / box[1]) : 0;
            bool inside = x >= 0 && x < kSize[0] && y >= 0 && y < kSize[1] && z >= 0 && z < kSize[2];
            uint32_t at = swizzled(i * static_cast<uint32_t>(element_bytes), swizzle);
            each(inside ? (z * 10 + y) * 96 + x : -1, at);
        }
    }
};

const Box kBoxes[] = {
    {2, 2, {64, 8, 1}, {0, 0, 0}, Swizzle::bytes_128},     {2, 2, {64, 8, 1}, {16, 5, 0}, Swizzle::bytes_128},
    {1, 2, {128, 16, 1}, {-3, -2, 0}, Swizzle::bytes_128}, {4, 2, {16, 8, 1}, {60, 3, 0}, Swizzle::bytes_64},
    {4, 2, {8, 9, 1}, {-20, 0, 0}, Swizzle::bytes_32},     {4, 3, {12, 4, 3}, {64, 7, 3}, Swizzle::none},
    {2, 3, {64, 4, 4}, {-5, -1, -1}, Swizzle::bytes_128},  {1, 3, {64, 16, 2}, {0, 0, 4}, Swizzle::bytes_64},
};

// Memory whose first byte is aligned.
struct Device {
    void *data;
    size_t bytes;
    explicit Device(size_t bytes) : bytes(bytes) { cudaMalloc(&data, bytes); }
    ~Device() { expect(cudaFree(data) == cudaSuccess, "wrote beyond device memory"); }
    Device(const Device &) = delete;
    Device &operator=(const Device &) = delete;
    unsigned char *begin() const { return static_cast<unsigned char *>(data); }
};

void copies() {
    Device tensor(96 * 10 * 5 * 4);
    check::Random random(4);
    for (size_t i = 0; i < tensor.bytes; i++) tensor.begin()[i] = static_cast<unsigned char>(random.bits());
    for (const Box &box : kBoxes) {
        size_t size = static_cast<size_t>(box.element_bytes);
        std::vector<unsigned char> loaded(box.bytes()), copy(box.bytes()), stored(tensor.bytes, 0xff);
        std::vector<unsigned char> image(box.bytes());
        for (unsigned char &each : image) each = static_cast<unsigned char>(random.bits());
        box.for_each([&](int element, uint32_t at) {
            if (element < 0) return;
            std::memcpy(&loaded[at], tensor.begin() + static_cast<size_t>(element) * size, size);
            std::memcpy(&stored[static_cast<size_t>(element) * size], &image[at], size);
        });
        expect_right<unsigned char>("emulator_load", loaded, [&](std::vector<unsigned char> &y) {
            launch("emulator_load", emulator_load, dim3(1), dim3(128), box.bytes() + 8, nullptr, y.data(),
                   tensor_map("x", box.shape(tensor.data)), box.rank, box.corner, box.bytes());
        });
        if (box.rank != 3) continue;
        Device source(image.size()), target(tensor.bytes), copied(image.size());
        std::memcpy(source.data, image.data(), image.size());
        expect_right<unsigned char>("emulator_store", stored, [&](std::vector<unsigned char> &y) {
            std::memset(target.data, 0xff, target.bytes);
            launch("emulator_store", emulator_store, dim3(1), dim3(128), box.bytes() + 8, nullptr,
                   tensor_map("y", box.shape(target.data)), copied.begin(), source.begin(), box.corner, box.bytes());
            std::memcpy(y.data(), target.data, target.bytes);
            expect(std::memcmp(copied.data, image.data(), image.size()) == 0, "bulk copies changed the bytes");
        });
    }

    auto refused = [&](const char *part, Box box, size_t shift = 0) {
        std::string error = attempt([&] { tensor_map("x_TD", box.shape(tensor.begin() + shift)); });
        expect(contains(error, part), "\"%s\" should contain \"%s\"", error.c_str(), part);
    };
    refused("x_TD: TMA wants an address aligned to 16", kBoxes[0], 8);
    refused("x_TD: dimension 1 of the box has 257 elements", {2, 2, {64, 257, 1}, {}, Swizzle::bytes_128});
    refused("x_TD: a row of the box has 64 bytes, the swizzle spans 128", {2, 2, {32, 8, 1}, {}, Swizzle::bytes_128});
    refused("x_TD: a row of the box has 24 bytes", {2, 2, {12, 8, 1}, {}, Swizzle::none});
}

template <bool LOAD, bool STORE>
void transposes() {
    std::vector<uint16_t> x(256), expected(256);
    for (size_t i = 0; i < 256; i++) x[i] = static_cast<uint16_t>(i * 7);
    for (size_t m = 0; m < 4; m++)
        for (size_t r = 0; r < 8; r++)
            for (size_t c = 0; c < 8; c++)
                expected[64 * m + 8 * r + c] = LOAD == STORE ? x[64 * m + 8 * r + c] : x[64 * m + 8 * c + r];
    expect_right<uint16_t>("ldmatrix, stmatrix", expected, [&](std::vector<uint16_t> &y) {
        launch("emulator_matrices", emulator_matrices<LOAD, STORE>, dim3(1), dim3(32), 1024, nullptr, y.data(),
               x.data());
    });
}

void matrices() {
    transposes<false, false>();
    transposes<false, true>();
    transposes<true, false>();
    transposes<true, true>();
}

// ---- Warps and blocks ----

void warps() {
    std::vector<int> expected;
    for (int lane = 0; lane < 32; lane++) {
        unsigned thirds = 0x49249249u;
        int up = lane % 16 < 2 ? lane : lane - 2, down = lane + 3 < 32 ? lane + 3 : lane;
        for (int each : {5, lane / 8 * 8 + 3, up, down, static_cast<int>(thirds), lane < 12 ? lane ^ 1 : 0x55555000,
                         lane < 16 ? lane ^ 4 : 0, lane < 16 ? 3 : 0})
            expected.push_back(each);
    }
    expect_right<int>("emulator_shuffles", expected, [](std::vector<int> &y) {
        launch("emulator_shuffles", emulator_shuffles, dim3(1), dim3(32), 0, nullptr, y.data());
    });

    std::vector<int> leave(64);
    for (size_t i = 0; i < 64; i++) leave[i] = static_cast<int>(126 - 2 * i);
    expect_right<int>("emulator_leave", leave, [](std::vector<int> &y) {
        launch("emulator_leave", emulator_leave, dim3(3), dim3(128), 512, nullptr, y.data());
    });

    std::set<int> elected;
    for (uint64_t seed = 0; seed < kSeeds; seed++) {
        emulator_seed(seed);
        std::array<int, 8> y;
        launch("emulator_elect", emulator_elect, dim3(1), dim3(128), 0, nullptr, y.data());
        for (size_t warp = 0; warp < 4; warp++) {
            expect(y[2 * warp] == y[2 * warp + 1], "two elections, two lanes");
            elected.insert(y[2 * warp]);
        }
    }
    expect(elected.size() > 8, "only %zu lanes were ever elected", elected.size());

    auto registers = [](auto kernel) {
        return attempt([&] { launch("emulator_registers", kernel, dim3(2), dim3(384), 0, nullptr); });
    };
    expect(registers(emulator_registers<40, 232>).empty(), "40 + 2 * 232 registers were refused");
    std::string error = registers(emulator_registers<40, 240>);
    expect(contains(error, "240 registers at emulator_kernels.cuh"), "the text is \"%s\"", error.c_str());
    error = registers(emulator_registers<40, 230>);
    expect(contains(error, "setmaxnreg 230 at emulator_kernels.cuh"), "the text is \"%s\"", error.c_str());
}

std::vector<int> order(uint64_t seed, int launches) {
    std::vector<int> y(6 * 40);
    emulator_seed(seed);
    for (int i = 0; i < launches; i++) {
        int next = 0;
        launch("emulator_order", emulator_order, dim3(6), dim3(40), 0, nullptr, y.data(), &next);
    }
    return y;
}

void schedules() {
    std::set<std::vector<int>> different;
    for (uint64_t seed = 0; seed < 10; seed++) {
        std::vector<int> y = order(seed, 1);
        different.insert(y);
        expect(y == order(seed, 1), "seed %d gave two schedules", static_cast<int>(seed));
        std::sort(y.begin(), y.end());
        for (int i = 0; i < 240; i++) expect(y[static_cast<size_t>(i)] == i, "seed %d: %d", static_cast<int>(seed), i);
    }
    expect(different.size() == 10, "10 seeds gave %zu schedules", different.size());
    expect(order(1, 1) != order(1, 2), "the second launch came in the order of the first");
    expect(order(1, 2) == order(1, 2), "seed 1 gave two schedules to the second launch");
}

// ---- What is refused, and memory ----

void launches() {
    Sum sum;
    float y[7];
    auto refused = [&](const char *part, dim3 grid, dim3 block, size_t shared_bytes) {
        std::string error = attempt([&] {
            launch("emulator_sum", emulator_sum<PlainBug::none>, grid, block, shared_bytes, nullptr, y, sum.x.data(),
                   1000);
        });
        expect(contains(error, part), "\"%s\" should contain \"%s\"", error.c_str(), part);
    };
    refused("emulator_sum: a grid of 0 x 1 x 1 blocks", 0, 256, 32);
    refused("emulator_sum: a grid of 1 x 65536 x 1 blocks", dim3(1, 65536), 256, 32);
    refused("emulator_sum: a block of 0 x 1 x 1 threads", 1, 0, 32);
    refused("emulator_sum: a block of 32 x 33 x 1 threads", 1, dim3(32, 33), 32);
    refused("emulator_sum: 232449 bytes of shared memory, a block can have 232448", 1, 256, 227 * 1024 + 1);
    refused("emulator_sum: seed", 1, 256, 0);  // and writes beyond it
    std::string error = attempt([&] {
        launch("emulator_sum", emulator_sum<PlainBug::none>, 7, 256, 227 * 1024, nullptr, y, sum.x.data(), 1000);
    });
    expect(error.empty() && y[6] == sum.expected[6], "all of shared memory: %s", error.c_str());

    // Failed launches leave nothing behind that disturbs another one; and each thread of the host may launch.
    std::vector<std::thread> threads;
    std::array<std::array<float, 7>, 4> sums;
    for (std::array<float, 7> &each : sums)
        threads.emplace_back([&each, &sum] {
            for (int i = 0; i < 20; i++)
                launch("emulator_sum", emulator_sum<PlainBug::none>, 7, 256, 32, nullptr, each.data(), sum.x.data(),
                       1000);
        });
    for (std::thread &each : threads) each.join();
    for (std::array<float, 7> &each : sums) expect(each[3] == sum.expected[3], "launched by four threads: %g", each[3]);
}

void memory() {
    void *data;
    size_t free = 0, total = 0, now = 0;
    expect(cudaMemGetInfo(&free, &total) == cudaSuccess, "cudaMemGetInfo");
    expect(0 < free && free <= total, "memory: %zu of %zu", free, total);
    expect(cudaMalloc(&data, 1000) == cudaSuccess, "cudaMalloc");
    expect(reinterpret_cast<uintptr_t>(data) % 256 == 0, "cudaMalloc: %p", data);
    cudaMemGetInfo(&now, &total);
    expect(now == free - 1000, "%zu bytes are free, were %zu", now, free);
    float first;
    std::memcpy(&first, data, 4);
    expect(std::isnan(first), "fresh memory holds %g", first);
    expect(cudaFree(data) == cudaSuccess, "cudaFree");
    expect(cudaFree(nullptr) == cudaSuccess, "cudaFree of nullptr");
    int local;
    expect(cudaFree(&local) == cudaErrorInvalidValue, "cudaFree of what is not its own");
    for (int at : {-1, 1000}) {
        cudaMalloc(&data, 1000);
        static_cast<unsigned char *>(data)[at] = 0;
        expect(cudaFree(data) == cudaErrorIllegalAddress, "a write to byte %d of 1000 passed", at);
    }
    expect(cudaMalloc(&data, total + 1) == cudaErrorMemoryAllocation && data == nullptr, "more than all memory");
    cudaMemGetInfo(&now, &total);
    expect(now == free, "%zu bytes are free, were %zu", now, free);
    int count = 0;
    cudaDeviceProp properties;
    expect(cudaGetDeviceCount(&count) == cudaSuccess && count == 1, "%d devices", count);
    expect(cudaSetDevice(1) == cudaErrorInvalidDevice && cudaGetLastError() == cudaErrorInvalidDevice, "device 1");
    expect(cudaGetDeviceProperties(&properties, 0) == cudaSuccess && properties.major == 9, "sm_90");
}

// ---- Numbers ----

void numbers() {
    auto same = [](float a, float b) {
        return (std::isnan(a) && std::isnan(b)) || (a == b && std::signbit(a) == std::signbit(b));
    };
    for (int code = 0; code < 256; code++) {
        float value = e4m3_to_float(static_cast<uint8_t>(code)), defined = check::e4m3(static_cast<uint8_t>(code));
        expect(same(value, defined), "e4m3 %02x is %g, should be %g", code, value, defined);
        if (std::isnan(value)) continue;
        expect(float_to_e4m3(value) == code, "%g becomes e4m3 %02x, should be %02x", value, float_to_e4m3(value), code);
    }
    check::Random random(5);
    for (int i = 0; i < 20000; i++) {
        // Any bits; numbers in the range of e4m3; and numbers half-way between two of its codes.
        float x = bits_to_float(random.bits());
        if (i % 4 == 1) x = random.normal() * std::ldexp(1.0f, random.below(20) - 10);
        uint8_t low = static_cast<uint8_t>(random.below(126));
        if (i % 4 == 2) x = (check::e4m3(low) + check::e4m3(static_cast<uint8_t>(low + 1))) / 2;
        if (i % 4 == 3)
            x = std::nextafter((check::e4m3(low) + check::e4m3(static_cast<uint8_t>(low + 1))) / 2, random.normal());
        uint8_t code = float_to_e4m3(x);
        if (std::isnan(x)) {
            expect(code == 0x7f, "NaN becomes e4m3 %02x", code);
            expect(float_to_bf16(x) == 0x7fff, "NaN becomes bf16 %04x", float_to_bf16(x));
            continue;
        }
        double clamped = std::fmin(std::fmax(x, -448.0), 448.0), best = 1e9;
        int nearest = 0;
        for (int each = 0; each < 127; each++) {
            double distance = std::fabs(check::e4m3(static_cast<uint8_t>(each)) - std::fabs(clamped));
            if (distance < best || (distance == best && each % 2 == 0)) best = distance, nearest = each;
        }
        nearest |= std::signbit(x) ? 0x80 : 0;
        expect(code == nearest, "%.9g becomes e4m3 %02x, should be %02x", x, code, nearest);

        // The two bf16 around x are its upper bits and the next number; the nearer one, or the even one, is right.
        uint16_t below = static_cast<uint16_t>(float_to_bits(x) >> 16), above = static_cast<uint16_t>(below + 1);
        uint32_t rest = float_to_bits(x) & 0xffff;
        uint16_t right = rest > 0x8000 || (rest == 0x8000 && below % 2 == 1) ? above : below;
        expect(float_to_bf16(x) == right, "%.9g becomes bf16 %04x, should be %04x", x, float_to_bf16(x), right);
        expect(float_to_bf16x2(x, 1.0f) == (0x3f800000u | right), "a pair of bf16");
    }
}

}  // namespace

int main(int argc, char **argv) {
    return check::run(argc, argv,
                      {{"pipeline", pipeline},
                       {"pipeline_bugs", pipeline_bugs},
                       {"barriers", barriers},
                       {"products", products},
                       {"copies", copies},
                       {"matrices", matrices},
                       {"warps", warps},
                       {"schedules", schedules},
                       {"launches", launches},
                       {"memory", memory},
                       {"numbers", numbers}});
}
