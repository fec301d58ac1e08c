// gemm and grouped_gemm on tensor cores, in the emulator: against sums in double precision of what the tensor cores are
// given, that is x rounded to bf16 or e4m3; and the same bits for a row whatever is computed beside it, in whichever
// tile, with every seed.
#include <algorithm>
#include <limits>

#include "check.hpp"
#include "numbers.hpp"

using namespace check;

namespace {

constexpr uint64_t kSeed = 20261124;
constexpr int32_t kFormats[] = {PM_W_BF16, PM_W_F8_E4M3_B128};
constexpr float kNan = std::numeric_limits<float>::quiet_NaN();

size_t area(int64_t a, int64_t b) { return static_cast<size_t>(a * b); }

std::string options(int seed) { return "math=tensor seed=" + std::to_string(seed); }

// Memory of the context, freed with it.
template <class T>
T *on_device(const Context &context, const std::vector<T> &values) {
    void *data = nullptr;
    auto bytes = static_cast<int64_t>(values.size() * sizeof(T));
    context.ok(pm_allocate(context, &data, bytes), "allocate");
    context.ok(pm_copy(context, data, values.data(), bytes), "copy");
    return static_cast<T *>(data);
}

std::vector<float> from_device(const Context &context, const float *data, size_t count) {
    std::vector<float> values(count);
    context.ok(pm_copy(context, values.data(), data, static_cast<int64_t>(count * sizeof(float))), "copy back");
    return values;
}

// A weight on the device. Its scales stay at an odd address.
struct DeviceWeight {
    const void *data, *scale;

    DeviceWeight(const Context &context, const Weight &w, size_t offset = 0) : data(nullptr), scale(nullptr) {
        std::vector<uint8_t> stored(offset);
        stored.insert(stored.end(), w.stored.begin() + 1, w.stored.end());
        data = on_device(context, stored) + offset;
        if (!w.scales.empty()) scale = on_device(context, w.scales) + 1;
    }
};

// The nearest e4m3 by its definition, found by looking at all of them.
double nearest_e4m3(double x) {
    double best = 0;
    for (int code = 0; code < 256; code++) {
        double value = e4m3(static_cast<uint8_t>(code));
        bool closer = std::fabs(value - x) < std::fabs(best - x);
        if (closer || (std::fabs(value - x) == std::fabs(best - x) && code % 2 == 0)) best = value;
    }
    return best;
}

// x as the tensor cores get it.
std::vector<double> rounded(const std::vector<float> &x, int32_t format, int64_t D) {
    std::vector<double> result(x.begin(), x.end());
    if (format == PM_W_BF16) {
        for (double &each : result)
            each = panamoe::cuda::bf16_to_float(panamoe::cuda::float_to_bf16(static_cast<float>(each)));
        return result;
    }
    for (size_t row = 0; row < result.size(); row += static_cast<size_t>(D))
        for (int64_t from = 0; from < D; from += 128) {
            double *block = &result[row + static_cast<size_t>(from)];
            int64_t count = std::min<int64_t>(128, D - from);
            double largest = 1e-4f;
            for (int64_t i = 0; i < count; i++) largest = std::max(largest, std::fabs(block[i]));
            float scale = static_cast<float>(largest) / 448;
            for (int64_t i = 0; i < count; i++)
                block[i] = nearest_e4m3(static_cast<float>(block[i]) / scale) * double{scale};
        }
    return result;
}

std::vector<double> product(const std::vector<double> &x_ND, const Weight &w) {
    size_t D = static_cast<size_t>(w.D), rows = x_ND.size() / D;
    std::vector<double> y;
    for (size_t n = 0; n < rows; n++)
        for (int64_t f = 0; f < w.F; f++) {
            double sum = 0;
            for (size_t d = 0; d < D; d++) sum += x_ND[n * D + d] * w.at(f, static_cast<int64_t>(d));
            y.push_back(sum);
        }
    return y;
}

void expect_small_difference(const std::vector<double> &expected, const std::vector<float> &actual,
                             const std::string &what) {
    double both = 0, squares = 0;
    for (size_t i = 0; i < expected.size(); i++) {
        both += 2 * expected[i] * actual[i];
        squares += expected[i] * expected[i] + double{actual[i]} * actual[i];
    }
    double difference = squares == 0 ? 0 : 1 - both / squares;
    expect(difference < 1e-9, "%s: difference %g", what.c_str(), difference);
}

std::vector<float> gemm(const Context &context, const std::vector<float> &x_TD, const DeviceWeight &w, int32_t format,
                        int64_t D, int64_t F, const std::string &what) {
    auto T = static_cast<int32_t>(x_TD.size() / static_cast<size_t>(D));
    const float *x = on_device(context, x_TD);
    float *y = on_device(context, std::vector<float>(area(T, F), kNan));
    context.ok(
        pm_gemm(context, y, x, PM_F32, w.data, w.scale, format, T, static_cast<int32_t>(D), static_cast<int32_t>(F)),
        what);
    return from_device(context, y, area(T, F));
}

std::string name(const char *function, int32_t format, std::initializer_list<int64_t> sizes) {
    std::string text = std::string(function) + " " + format_name(format) + " sizes";
    for (int64_t size : sizes) text += " " + std::to_string(size);
    return text;
}

void test_gemm() {
    struct Shape {
        int32_t T, D, F;
    };
    // Tiles of 16, 32, 64 and 128 rows; D and F that end within a tile; more tiles than multiprocessors; a longer sum
    // than there are stages.
    const Shape shapes[] = {{1, 16, 1},    {3, 64, 64},    {16, 144, 65},   {17, 128, 130}, {33, 272, 129},
                            {65, 336, 70}, {130, 48, 300}, {257, 208, 520}, {2, 2320, 72}};
    for (int32_t format : kFormats)
        for (auto [T, D, F] : shapes) {
            std::string what = name("gemm", format, {T, D, F});
            Random random(kSeed);
            Weight w(format, F, D, random);
            std::vector<float> x_TD = random.normals(int64_t{T} * D), y_TF;
            for (int seed = 1; seed <= 3; seed++) {
                Context context(options(seed));
                DeviceWeight stored(context, w);
                std::vector<float> y = gemm(context, x_TD, stored, format, D, F, what);
                if (seed > 1) {
                    expect_same_bits(y_TF, y, what + ", another seed");
                    continue;
                }
                y_TF = y;
                std::vector<double> expected = product(rounded(x_TD, format, D), w);
                expect_close(expected, y, F, D, what);
                expect_small_difference(expected, y, what);
                // The last rows alone: other tiles, the same bits.
                for (int32_t batch : {1, 5, 31, 60})
                    if (batch < T) {
                        std::vector<float> some(x_TD.end() - int64_t{batch} * D, x_TD.end());
                        expect_same_bits({y.end() - int64_t{batch} * F, y.end()},
                                         gemm(context, some, stored, format, D, F, what),
                                         what + ", batch of " + std::to_string(batch));
                    }
            }
        }
}

// Whole numbers and scales that are powers of two: every sum is exact, so every bit is known.
void test_exact() {
    for (int32_t format : kFormats) {
        int32_t T = 70, D = 400, F = 200;
        std::string what = name("gemm of whole numbers", format, {T, D, F});
        Random random(kSeed);
        Weight w(format, F, D, random);
        for (int64_t i = 0; i < int64_t{F} * D; i++) {
            auto value = static_cast<float>(random.below(9) - 4);
            auto at = static_cast<size_t>(i);
            if (format == PM_W_F8_E4M3_B128) {
                w.stored[1 + at] = panamoe::cuda::float_to_e4m3(value);
            } else {
                uint16_t bits = panamoe::cuda::float_to_bf16(value);
                std::memcpy(&w.stored[1 + 2 * at], &bits, 2);
            }
        }
        for (int64_t i = 0; i < static_cast<int64_t>(w.scales.size() / 4); i++)
            w.set_scale(i, random.below(2) == 0 ? 0.5f : -4.0f);
        w.define();
        std::vector<float> x_TD(area(T, D));
        for (size_t i = 0; i < x_TD.size(); i++)  // the largest of each block says that its scale is 1
            x_TD[i] = i % static_cast<size_t>(D) % 128 == 3 ? 448 : static_cast<float>(random.below(17) - 8);
        std::vector<double> expected = product({x_TD.begin(), x_TD.end()}, w);
        for (int seed = 1; seed <= 3; seed++) {
            Context context(options(seed));
            expect_same_bits({expected.begin(), expected.end()},
                             gemm(context, x_TD, DeviceWeight(context, w), format, D, F, what), what);
        }
    }
}

// The table of a grouped_gemm, on the device.
struct Experts {
    std::vector<Weight> weights;
    std::vector<int32_t> offset_E1 = {0};
    std::vector<const void *> w_E, scale_E;

    Experts(const Context &context, int32_t format, int32_t D, int32_t F, const std::vector<int32_t> &rows_E) {
        Random random(kSeed);
        for (int32_t rows : rows_E) {
            weights.emplace_back(format, F, D, random);
            DeviceWeight stored(context, weights.back());
            offset_E1.push_back(offset_E1.back() + rows);
            w_E.push_back(rows > 0 ? stored.data : nullptr);  // those of an expert without rows are not read
            scale_E.push_back(rows > 0 ? stored.scale : nullptr);
        }
    }
};

struct Call {
    int32_t format, D, F, E;
    const void *const *w_E, *const *scale_E;

    int32_t run(const Context &context, float *y, const float *x, const int32_t *offset, int32_t N) const {
        return pm_grouped_gemm(context, y, x, PM_F32, w_E, format == PM_W_F8_E4M3_B128 ? scale_E : nullptr, format,
                               offset, N, D, F, E);
    }
};

void test_grouped_gemm() {
    struct Shape {
        int32_t D, F;
        std::vector<int32_t> rows_E;
    };
    const Shape shapes[] = {{16, 3, {0, 1}},
                            {144, 70, {1, 0, 3, 0, 0, 17, 2}},
                            {208, 200, {5, 40, 0, 33}},
                            {80, 330, {0, 150, 3, 0, 130}},
                            {272, 600, {260, 0, 129}}};
    for (int32_t format : kFormats)
        for (const auto &[D, F, rows_E] : shapes) {
            auto E = static_cast<int32_t>(rows_E.size());
            std::string what = name("grouped_gemm", format, {D, F, E});
            std::vector<float> first;
            for (int seed = 1; seed <= 3; seed++) {
                Context context(options(seed));
                Experts experts(context, format, D, F, rows_E);
                int32_t N = experts.offset_E1.back();
                Random random(kSeed + 1);
                std::vector<float> x_ND = random.normals(int64_t{N} * D);
                Call call{format, D, F, E, on_device(context, experts.w_E), on_device(context, experts.scale_E)};
                float *y = on_device(context, std::vector<float>(area(N, F), kNan));
                for (int again = 0; again < 2; again++) {  // the second time the table is known
                    context.ok(call.run(context, y, on_device(context, x_ND), on_device(context, experts.offset_E1), N),
                               what);
                    std::vector<float> y_NF = from_device(context, y, area(N, F));
                    if (first.empty()) first = y_NF;
                    expect_same_bits(first, y_NF, what + ", another time, another seed");
                }
                if (seed > 1) continue;
                for (size_t e = 0; e < rows_E.size(); e++) {
                    auto rows = [&](const std::vector<float> &values, int64_t width) {
                        return std::vector<float>(values.begin() + experts.offset_E1[e] * width,
                                                  values.begin() + experts.offset_E1[e + 1] * width);
                    };
                    std::string expert = what + " expert " + std::to_string(e);
                    std::vector<double> expected = product(rounded(rows(x_ND, D), format, D), experts.weights[e]);
                    expect_close(expected, rows(first, F), F, D, expert);
                    expect_small_difference(expected, rows(first, F), expert);
                    if (rows_E[e] == 0) continue;
                    DeviceWeight stored(context, experts.weights[e]);
                    expect_same_bits(rows(first, F), gemm(context, rows(x_ND, D), stored, format, D, F, expert),
                                     expert + ", gemm alone");
                }
            }
        }
}

// A NaN or an infinity stays in its row; a NaN weight in its output.
void test_not_finite() {
    for (int32_t format : kFormats) {
        int32_t T = 5, D = 272, F = 70;
        std::string what = name("gemm not finite", format, {T, D, F});
        Context context(options(1));
        Random random(kSeed);
        Weight w(format, F, D, random), nan = w;
        std::vector<float> x_TD = random.normals(int64_t{T} * D);
        std::vector<float> y = gemm(context, x_TD, DeviceWeight(context, w), format, D, F, what);
        if (format == PM_W_BF16)
            nan.stored[1 + 2 * area(7, D) + 1] = 0x7f, nan.stored[1 + 2 * area(7, D)] = 0xc0;
        else
            nan.stored[1 + area(7, D)] = 0x7f;
        x_TD[area(1, D) + 5] = kNan;
        x_TD[area(3, D) + 271] = std::numeric_limits<float>::infinity();
        std::vector<float> after = gemm(context, x_TD, DeviceWeight(context, nan), format, D, F, what);
        for (int32_t t = 0; t < T; t++)
            for (int32_t f = 0; f < F; f++) {
                size_t i = area(t, F) + static_cast<size_t>(f);
                bool lost = t == 1 || t == 3 || f == 7;
                expect(lost ? !std::isfinite(after[i]) : std::memcmp(&y[i], &after[i], 4) == 0,
                       "%s: row %d, output %d: %g became %g", what.c_str(), t, f, y[i], after[i]);
            }
    }
}

// What the tensor kernel does not take goes the plain way, to the bits of math=exact.
void test_plain() {
    struct Case {
        int32_t format, D;
        size_t offset;
    };
    for (auto [format, D, offset] : {Case{PM_W_F32, 64, 0}, Case{PM_W_BF16, 60, 0}, Case{PM_W_BF16, 64, 2},
                                     Case{PM_W_F8_E4M3_B128, 136, 0}, Case{PM_W_F8_E4M3_B128, 144, 8}}) {
        int32_t T = 3, F = 20;
        std::string what = name("gemm plain", format, {T, D, F});
        Random random(kSeed);
        Weight w(format, F, D, random);
        std::vector<float> x_TD = random.normals(int64_t{T} * D);
        Context tensor("math=tensor"), exact("math=exact");
        expect(std::strstr(pm_describe(tensor), " math=tensor") != nullptr, "described as %s", pm_describe(tensor));
        std::vector<float> y = gemm(exact, x_TD, DeviceWeight(exact, w, offset), format, D, F, what);
        expect_same_bits(y, gemm(tensor, x_TD, DeviceWeight(tensor, w, offset), format, D, F, what), what);

        const void *const *w_E = on_device(tensor, std::vector<const void *>{DeviceWeight(tensor, w, offset).data});
        const void *const *scale_E = on_device(tensor, std::vector<const void *>{DeviceWeight(tensor, w).scale});
        float *y_NF = on_device(tensor, std::vector<float>(area(T, F), kNan));
        tensor.ok(Call{format, D, F, 1, w_E, scale_E}.run(tensor, y_NF, on_device(tensor, x_TD),
                                                          on_device(tensor, std::vector<int32_t>{0, T}), T),
                  what);
        expect_same_bits(y, from_device(tensor, y_NF, area(T, F)), what + ", grouped");
    }
    Context wrong("math=fast");
    wrong.refused(wrong.status, "math=fast, must be exact or tensor");
}

// What was read from a table is forgotten when the table changes, by a copy or because other memory lies there now.
void test_tables() {
    int32_t D = 64, F = 40, N = 4;
    Context context(options(1));
    Random random(kSeed);
    Weight a(PM_W_BF16, F, D, random), b(PM_W_BF16, F, D, random);
    DeviceWeight stored_a(context, a), stored_b(context, b);
    std::vector<float> x_ND = random.normals(int64_t{N} * D);
    const float *x = on_device(context, x_ND);
    float *y = on_device(context, std::vector<float>(area(N, F), kNan));
    const int32_t *offset = on_device(context, std::vector<int32_t>{0, 2, N});
    auto expect_product = [&](const Call &call, const Weight &w, const char *what) {
        context.ok(call.run(context, y, x, offset, N), what);
        expect_close(product(rounded(x_ND, PM_W_BF16, D), w), from_device(context, y, area(N, F)), F, D, what);
    };
    std::vector<const void *> only_a = {stored_a.data, stored_a.data}, only_b = {stored_b.data, stored_b.data};
    const void **w_E = on_device(context, only_a);
    Call call{PM_W_BF16, D, F, 2, w_E, nullptr};
    expect_product(call, a, "table");
    context.ok(pm_copy(context, w_E + 1, &only_b[1], 8), "copy into the table");
    context.ok(pm_copy(context, w_E, &only_b[0], 8), "copy into the table");
    expect_product(call, b, "table after a copy");
    for (int i = 0; i < 4; i++) {
        const Weight &w = i % 2 == 0 ? a : b;
        context.ok(pm_free(context, w_E), "free the table");
        w_E = on_device(context, i % 2 == 0 ? only_a : only_b);
        call.w_E = w_E;
        expect_product(call, w, "another table");
    }
    // It reads 64 rows of 64 bf16 at once; here the table says otherwise.
    Call half{PM_W_BF16, D / 2, F, 2, w_E, nullptr};
    context.ok(half.run(context, y, x, offset, N), "the same table with another D");
    expect_product(call, b, "and with the first one again");
}

// Bad offsets compute nothing; an expert with rows but without weights is left out.
void test_bad_tables() {
    for (int32_t format : kFormats) {
        Context context(options(1));
        int32_t D = 64, F = 40, N = 6;
        Experts experts(context, format, D, F, {2, 3, 1});
        const float *x = on_device(context, std::vector<float>(area(N, D), 1));
        float *y = on_device(context, std::vector<float>(area(N, F), kNan));
        Call call{format, D, F, 3, on_device(context, experts.w_E), on_device(context, experts.scale_E)};
        auto expect_fault = [&](const Call &bad, const std::vector<int32_t> &offset, const char *text) {
            context.ok(bad.run(context, y, x, on_device(context, offset), N), "grouped_gemm");
            context.refused(pm_synchronize(context), text);
        };
        expect_fault(call, {1, 2, 5, 6}, "grouped_gemm: offset_E1[0] is 1, must be 0");
        expect_fault(call, {0, 2, 5, 7}, "grouped_gemm: offset_E1[3] is 7, N is 6");
        expect_fault(call, {0, 5, 2, 6}, "grouped_gemm: offset_E1[1] is 5, offset_E1[2] is 2, N is 6");
        expect_fault(call, {0, 7, 7, 6}, "grouped_gemm: offset_E1[0] is 0, offset_E1[1] is 7, N is 6");
        expect_fault(call, {0, -1, 3, 6}, "grouped_gemm: offset_E1[0] is 0, offset_E1[1] is -1, N is 6");
        for (float each : from_device(context, y, area(N, F))) expect(std::isnan(each), "bad offsets wrote %g", each);

        std::vector<const void *> w_E = experts.w_E;
        w_E[1] = nullptr;
        Call lacking = call;
        lacking.w_E = on_device(context, w_E);
        expect_fault(lacking, experts.offset_E1, "grouped_gemm: w_E[1] is NULL and has 3 rows");
        std::vector<float> y_NF = from_device(context, y, area(N, F));
        for (int32_t n = 0; n < N; n++)
            expect(std::isnan(y_NF[area(n, F) + 7]) == (n >= 2 && n < 5), "row %d is %g", n, y_NF[area(n, F) + 7]);
        if (format == PM_W_BF16) continue;
        std::vector<const void *> scale_E = experts.scale_E;
        scale_E[2] = nullptr;
        lacking = call;
        lacking.scale_E = on_device(context, scale_E);
        expect_fault(lacking, experts.offset_E1, "grouped_gemm: scale_E[2] is NULL and has 1 rows");
    }
}

}  // namespace

int main(int argc, char **argv) {
    return run(argc, argv,
               {{"gemm", test_gemm},
                {"exact", test_exact},
                {"grouped_gemm", test_grouped_gemm},
                {"not_finite", test_not_finite},
                {"plain", test_plain},
                {"tables", test_tables},
                {"bad_tables", test_bad_tables}});
}
