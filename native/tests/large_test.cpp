// Matrices, activations and caches of more than 2^31 bytes, and more than 100,000 rows. What lies in between is never
// written, and takes no memory: the kernel lends one page of zeros for all of it.
#include <sys/mman.h>

#include <cstdio>
#include <cstdlib>

#include "check.hpp"

using namespace check;

namespace {

constexpr int64_t kBeyond = (int64_t{1} << 31) + 4096;

// Zeros, until something is written.
template <class T>
class Zeros {
  public:
    explicit Zeros(int64_t n) : bytes_(static_cast<size_t>(n) * sizeof(T)) {
        void *data = mmap(nullptr, bytes_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        if (data == MAP_FAILED) {
            std::perror("mmap");  // of address space alone, which a system may be set to refuse
            std::exit(1);
        }
        madvise(data, bytes_, MADV_NOHUGEPAGE);
        data_ = static_cast<T *>(data);
    }
    ~Zeros() { munmap(data_, bytes_); }
    Zeros(const Zeros &) = delete;
    Zeros &operator=(const Zeros &) = delete;

    operator T *() const { return data_; }

  private:
    size_t bytes_;
    T *data_;
};

const char *const kOptions = "threads=2";

// A matrix whose last rows alone are not zeros.
void test_weights() {
    for (int32_t format : {PM_W_F32, PM_W_BF16, PM_W_F8_E4M3_B128, PM_W_INT8, PM_W_INT4}) {
        Context context(kOptions);
        Random random(1);
        constexpr int32_t D = 16384, kLast = 5;
        Weight last(format, kLast, D, random);
        int64_t row = Weight::row_bytes(format, D), F = kBeyond / row / 128 * 128 + kLast;
        int64_t block = format == PM_W_F8_E4M3_B128 ? 128 : 32, rows = block == 128 ? 128 : 1;
        Zeros<uint8_t> data(F * row), scale((F + rows - 1) / rows * (D / block) * last.scale_bytes());
        std::memcpy(data + (F - kLast) * row, last.data(), static_cast<size_t>(kLast * row));
        if (last.scale() != nullptr)
            std::memcpy(scale + (F - kLast) / rows * (D / block) * last.scale_bytes(), last.scale(),
                        last.scales.size() - 1);
        std::vector<float> x = random.normals(D), y(static_cast<size_t>(F)), expected(kLast);
        std::string what = std::string("large weights ") + format_name(format);
        const void *scales = last.scale() == nullptr ? nullptr : static_cast<void *>(scale);
        context.ok(pm_gemm(context, y.data(), x.data(), PM_F32, data, scales, format, 1, D, static_cast<int32_t>(F)),
                   what);
        context.ok(pm_gemm(context, expected.data(), x.data(), PM_F32, last.data(), last.scale(), format, 1, D, kLast),
                   what);
        expect_exact(expected, std::vector<float>(y.end() - kLast, y.end()), what);
        expect(y[static_cast<size_t>(F) - kLast - 1] == 0, "%s: the row before is not 0", what.c_str());
    }
}

// 131,072 rows, of which the last alone are not zeros: a row's result is that of the row alone.
void test_rows() {
    for (int32_t format : {PM_W_F32, PM_W_INT8}) {
        Context context(kOptions);
        Random random(2);
        constexpr int32_t T = 131072, D = 4160, F = 3, kLast = 3;
        Weight w(format, F, D, random);
        Zeros<float> x(int64_t{T} * D), y(int64_t{T} * F);
        for (int64_t i = int64_t{T - kLast} * D; i < int64_t{T} * D; i++) x[i] = random.normal();
        std::string what = std::string("many rows ") + format_name(format);
        const void *const w_E[] = {w.data()}, *const scale_E[] = {w.scale()};
        const int32_t offset_E1[] = {0, T};
        context.ok(pm_grouped_gemm(context, y, x, PM_F32, w_E, scale_E, format, offset_E1, T, D, F, 1), what);
        std::vector<float> expected(kLast * F);
        context.ok(pm_gemm(context, expected.data(), x + int64_t{T - kLast} * D, PM_F32, w.data(), w.scale(), format,
                           kLast, D, F),
                   what);
        expect_exact(expected, std::vector<float>(y + int64_t{T - kLast} * F, y + int64_t{T} * F), what);
        expect(y[0] == 0 && y[int64_t{T - kLast} * F - 1] == 0, "%s: others are not 0", what.c_str());
    }
}

// Attention to the last page of a large cache, and a row of a large embedding.
void test_pages() {
    Context context(kOptions);
    Random random(3);
    constexpr int32_t B = 64, C = 512, R = 64, X = C + R, kPages = kBeyond / (B * X * 4) + 1;
    Zeros<float> pages(int64_t{kPages} * B * X);
    std::vector<float> page = random.normals(int64_t{B} * X), q = random.normals(X), o(C), expected(C);
    std::memcpy(pages + int64_t{kPages - 1} * B * X, page.data(), page.size() * sizeof(float));
    int32_t table = kPages - 1, first = 0, request = 0, position = B - 1;
    context.ok(pm_mla_attention(context, o.data(), q.data(), PM_F32, pages, PM_CACHE_F32, &table, &request, &position,
                                0.1f, 1, 1, C, R, 1, 1, B, kPages),
               "large cache");
    context.ok(pm_mla_attention(context, expected.data(), q.data(), PM_F32, page.data(), PM_CACHE_F32, &first, &request,
                                &position, 0.1f, 1, 1, C, R, 1, 1, B, 1),
               "large cache");
    expect_exact(expected, o, "large cache");

    constexpr int32_t V = kPages * B, token = V - 1;
    std::vector<float> row(X);
    context.ok(pm_embed(context, row.data(), PM_F32, pages, nullptr, PM_W_F32, &token, 1, V, X), "large embedding");
    expect_exact(std::vector<float>(page.end() - X, page.end()), row, "large embedding");
}

}  // namespace

int main(int argc, char **argv) {
    return run(argc, argv, {{"weights", test_weights}, {"rows", test_rows}, {"pages", test_pages}});
}
