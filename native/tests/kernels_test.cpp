// Every function of panamoe.h against its definition in double precision: every instruction set, every weight format,
// sizes that fit no vector, block or tile. One test bears the name of one function.
#include <algorithm>
#include <cfenv>
#include <limits>
#include <tuple>

#include "check.hpp"

#if defined(__x86_64__)
#include <xmmintrin.h>
#endif

using namespace check;

namespace {

constexpr uint64_t kSeed = 20261123;
constexpr int32_t kFormats[] = {PM_W_F32, PM_W_BF16, PM_W_F8_E4M3_B128, PM_W_INT8, PM_W_INT4};
constexpr int32_t kVectorFormats[] = {PM_W_F32, PM_W_BF16};
constexpr float kNan = std::numeric_limits<float>::quiet_NaN(), kInf = std::numeric_limits<float>::infinity();

size_t area(int64_t a, int64_t b) { return static_cast<size_t>(a * b); }

std::string name(const char *function, const std::string &isa, std::initializer_list<int64_t> sizes) {
    std::string text = std::string(function) + " isa=" + isa + " sizes";
    for (int64_t size : sizes) text += " " + std::to_string(size);
    return text + " seed " + std::to_string(kSeed);
}

std::vector<double> product(const std::vector<float> &x_TD, const Weight &w, int64_t T) {
    std::vector<double> y_TF(area(T, w.F));
    for (int64_t t = 0; t < T; t++)
        for (int64_t f = 0; f < w.F; f++) {
            double sum = 0;
            for (int64_t d = 0; d < w.D; d++) sum += x_TD[area(t, w.D) + static_cast<size_t>(d)] * w.at(f, d);
            y_TF[area(t, w.F) + static_cast<size_t>(f)] = sum;
        }
    return y_TF;
}

void expect_product(const std::vector<float> &x_TD, const Weight &w, int64_t T, const std::vector<float> &y_TF,
                    const std::string &what) {
    if (w.integer())
        expect_exact(integer_product(x_TD, w, T), y_TF, what);
    else
        expect_close(product(x_TD, w, T), y_TF, w.F, w.D, what);
}

std::vector<float> gemm(const Context &context, const std::vector<float> &x_TD, const Weight &w, int32_t T,
                        const std::string &what) {
    std::vector<float> y_TF(area(T, w.F), kNan);
    context.ok(pm_gemm(context, y_TF.data(), x_TD.data(), PM_F32, w.data(), w.scale(), w.format, T,
                       static_cast<int32_t>(w.D), static_cast<int32_t>(w.F)),
               what);
    return y_TF;
}

void test_gemm() {
    struct Shape {
        int32_t T, D, F;
    };
    const Shape shapes[] = {{0, 5, 3},     {1, 1, 1},     {1, 3, 7},      {2, 69, 3},   {3, 7, 69},
                            {4, 128, 130}, {5, 129, 9},   {7, 300, 4},    {1, 576, 69}, {13, 257, 5},
                            {69, 40, 51},  {130, 70, 50}, {1, 2048, 257}, {6, 1000, 97}};
    for (const std::string &isa : instruction_sets()) {
        Context one("threads=1 isa=" + isa), two("threads=2 isa=" + isa);
        for (int32_t format : kFormats)
            for (auto [T, D, F] : shapes) {
                std::string what = name("gemm", isa, {T, D, F}) + " " + format_name(format);
                Random random(kSeed);
                Weight w(format, F, D, random);
                std::vector<float> x_TD = random.normals(int64_t{T} * D);
                std::vector<float> y_TF = gemm(one, x_TD, w, T, what);
                expect_product(x_TD, w, T, y_TF, what);
                expect_same_bits(y_TF, gemm(two, x_TD, w, T, what), what + ", two threads");
                // A row alone, and rows in batches of every size up to 9, give the same bits.
                for (int32_t batch = 1; batch <= std::min(T, 9); batch++) {
                    std::vector<float> some(x_TD.end() - int64_t{batch} * D, x_TD.end());
                    std::vector<float> tail(y_TF.end() - int64_t{batch} * F, y_TF.end());
                    expect_same_bits(tail, gemm(two, some, w, batch, what),
                                     what + ", batch of " + std::to_string(batch));
                }
            }
    }
}

// NaN and infinity in one row stay in that row; in a weight, in that output.
void test_not_finite() {
    for (const std::string &isa : instruction_sets()) {
        Context context("threads=2 isa=" + isa);
        for (int32_t format : kFormats)
            for (int32_t T : {1, 3, 11}) {
                std::string what = name("gemm", isa, {T}) + " not finite " + format_name(format);
                Random random(kSeed);
                int32_t D = 261, F = 21;
                Weight w(format, F, D, random);
                for (int64_t i : {int64_t{3} * D + 7, int64_t{4} * D + 260, int64_t{20} * D}) {
                    if (format == PM_W_F32) std::memcpy(&w.stored[static_cast<size_t>(1 + 4 * i)], &kNan, 4);
                    if (format == PM_W_BF16)
                        w.stored[static_cast<size_t>(2 + 2 * i)] = 0x7f,
                                                             w.stored[static_cast<size_t>(1 + 2 * i)] = 0xc0;
                    if (format == PM_W_F8_E4M3_B128) w.stored[static_cast<size_t>(1 + i)] = i % 2 != 0 ? 0x7f : 0xff;
                    if (w.integer()) w.set_scale(i / D * w.groups() + i % D / 32, i % 2 != 0 ? kNan : kInf);
                }
                w.define();
                std::vector<float> x_TD = random.normals(int64_t{T} * D);
                x_TD[area(T - 1, D) + 5] = kInf;
                if (T > 2) x_TD[area(1, D) + 260] = kNan, x_TD[2] = -kInf;
                expect_product(x_TD, w, T, gemm(context, x_TD, w, T, what), what);
            }
    }
}

// Groups of one value, of the smallest values there are, of zeros of both signs, of ties: by the definition.
void test_quantised_rows() {
    for (const std::string &isa : instruction_sets()) {
        Context context("threads=2 isa=" + isa);
        for (int32_t format : {PM_W_INT8, PM_W_INT4})
            for (int32_t T : {1, 7, 12}) {
                std::string what = name("gemm", isa, {T}) + " quantised rows " + format_name(format);
                Random random(kSeed);
                int32_t D = 32 * 9 + 5, F = 37;
                Weight w(format, F, D, random);
                w.set_scale(5, 0x1p127f), w.set_scale(17, 0x1p-140f), w.set_scale(29, -0.0f);
                std::vector<float> x_TD;
                for (int64_t i = 0; i < int64_t{T} * D; i++) {
                    float value = random.normal();
                    switch (i % D / 32) {
                        case 0: value = 0; break;
                        case 1: value = -0.0f; break;
                        case 2: value = 0x1p-149f * static_cast<float>(random.below(60) - 30); break;
                        case 3: value = 0x1p-149f * static_cast<float>(random.below(380) - 190); break;
                        case 4:
                            value = static_cast<float>(random.below(255) - 127) / 2 + (i % 32 == 0 ? 127 : 0);
                            break;
                        case 5: value *= 1e37f; break;
                        case 6: value = i % 32 == 7 ? -3.0f : 0; break;
                        default: break;
                    }
                    x_TD.push_back(value);
                }
                expect_product(x_TD, w, T, gemm(context, x_TD, w, T, what), what);
            }
    }
}

// The largest sums that a group can have, of both signs: all codes at an end, all values of one magnitude.
void test_largest_codes() {
    for (const std::string &isa : instruction_sets()) {
        Context context("threads=1 isa=" + isa);
        for (int32_t format : {PM_W_INT8, PM_W_INT4})
            for (int both : {0x00, 0xff, 0x7f, 0x80, 0x81})  // of INT4: -8 and 7, too
                for (float sign : {1.0f, -1.0f})
                    for (int32_t T : {1, 4, 5, 12}) {
                        std::string what = name("gemm", isa, {T, both}) + " largest codes " + format_name(format);
                        Random random(kSeed);
                        int32_t D = 32 * 5, F = 35;
                        Weight w(format, F, D, random);
                        for (size_t i = 1; i < w.stored.size(); i++) w.stored[i] = static_cast<uint8_t>(both);
                        w.define();
                        std::vector<float> x_TD(area(T, D), sign);
                        expect_product(x_TD, w, T, gemm(context, x_TD, w, T, what), what);
                    }
    }
}

// All 256 codes under scales of every kind, bit for bit: one in each row, alone or among 255 zeros, x = 1.
void test_e4m3_codes() {
    const float scales[] = {1.0f,   -0.37f,   1e-30f, 0x1p-126f,     1e-40f,  0x1p-149f,  0.0f, -0.0f,
                            0x1p6f, 127.99f,  0x1p7f, 0x1p8f,        1e20f,   3.4e38f,    kInf, -kInf,
                            kNan,   3.14159f, 448.0f, 0x1.fffffep6f, -0x1p7f, 0x1.8p-133f};
    for (const std::string &isa : instruction_sets()) {
        Context context("threads=1 isa=" + isa);
        for (float scale : scales)
            for (size_t D : {1, 256}) {
                Random random(kSeed);
                Weight w(PM_W_F8_E4M3_B128, 256, static_cast<int32_t>(D), random);
                auto place = [D](size_t code) { return code * D + code * 89 % D; };
                std::fill(w.stored.begin() + 1, w.stored.end(), uint8_t{0});
                for (size_t code = 0; code < 256; code++) w.stored[1 + place(code)] = static_cast<uint8_t>(code);
                for (size_t block = 0; block < 2 * ((D + 127) / 128); block++) w.set_scale(block, scale);
                w.define();
                for (int32_t T : {1, 6}) {
                    std::string what =
                        name("e4m3", isa, {T, static_cast<int32_t>(D)}) + " scale " + std::to_string(scale);
                    std::vector<float> ones(static_cast<size_t>(T) * D, 1.0f);
                    std::vector<float> y = gemm(context, ones, w, T, what);
                    for (size_t i = 0; i < y.size(); i++) {
                        float expected = w.value_FD[place(i % 256)] + 0.0f;   // a sum that starts at 0 has no -0
                        if (D > 1 && !std::isfinite(scale)) expected = kNan;  // what such a scale makes of 0
                        bool same = std::isnan(expected) ? std::isnan(y[i]) : std::memcmp(&expected, &y[i], 4) == 0;
                        expect(same, "%s: code %zu is %.9g, should be %.9g", what.c_str(), i % 256, y[i], expected);
                    }
                }
            }
    }
}

// A NaN code sends its block to the exact path: the other weights must not change by a bit.
void test_e4m3_exact_path() {
    for (const std::string &isa : instruction_sets()) {
        Context context("threads=1 isa=" + isa);
        Random random(kSeed);
        Weight w(PM_W_F8_E4M3_B128, 8, 384, random);
        for (int32_t T : {1, 7}) {
            std::vector<float> x = random.normals(T * 384);
            std::vector<float> before = gemm(context, x, w, T, "exact path");
            Weight nan = w;
            nan.stored[1 + 5 * 384 + 200] = 0x7f;
            std::vector<float> after = gemm(context, x, nan, T, "exact path");
            for (size_t i = 0; i < after.size(); i++)
                expect(i % 8 == 5 ? std::isnan(after[i]) : std::memcmp(&before[i], &after[i], 4) == 0,
                       "isa=%s: output %zu: %.9g became %.9g beside a NaN", isa.c_str(), i, before[i], after[i]);
        }
    }
}

void test_grouped_gemm() {
    struct Shape {
        int32_t D, F;
        std::vector<int32_t> rows_E;
    };
    const Shape shapes[] = {{7, 3, {0}},           {69, 7, {1, 0, 3, 0}},      {128, 69, {0, 0, 9, 0}},
                            {257, 130, {5, 1, 2}}, {64, 50, {0, 70, 1, 0, 0}}, {300, 51, {1, 1, 1, 1, 1, 1, 1, 1}}};
    for (const std::string &isa : instruction_sets()) {
        Context one("threads=1 isa=" + isa), two("threads=2 isa=" + isa);
        for (int32_t format : kFormats)
            for (const auto &[D, F, rows_E] : shapes) {
                auto E = static_cast<int32_t>(rows_E.size());
                std::string what = name("grouped_gemm", isa, {D, F, E}) + " " + format_name(format);
                Random random(kSeed);
                std::vector<Weight> weights;
                std::vector<const void *> w_E, scale_E;
                std::vector<int32_t> offset_E1 = {0};
                for (int32_t rows : rows_E) {
                    weights.emplace_back(format, F, D, random);
                    offset_E1.push_back(offset_E1.back() + rows);
                }
                for (int32_t e = 0; e < E; e++) {  // the pointers of an expert without rows are not read
                    bool used = rows_E[static_cast<size_t>(e)] > 0;
                    w_E.push_back(used ? weights[static_cast<size_t>(e)].data() : nullptr);
                    scale_E.push_back(used ? weights[static_cast<size_t>(e)].scale() : nullptr);
                }
                int32_t N = offset_E1.back();
                std::vector<float> x_ND = random.normals(int64_t{N} * D);
                auto compute = [&](const Context &context) {
                    std::vector<float> y_NF(area(N, F), kNan);
                    context.ok(pm_grouped_gemm(context, y_NF.data(), x_ND.data(), PM_F32, w_E.data(),
                                               format >= PM_W_F8_E4M3_B128 ? scale_E.data() : nullptr, format,
                                               offset_E1.data(), N, D, F, E),
                               what);
                    return y_NF;
                };
                std::vector<float> y_NF = compute(one);
                expect_same_bits(y_NF, compute(two), what + ", two threads");
                for (size_t e = 0; e < weights.size(); e++) {
                    std::vector<float> x(x_ND.begin() + int64_t{offset_E1[e]} * D,
                                         x_ND.begin() + int64_t{offset_E1[e + 1]} * D);
                    std::vector<float> y(y_NF.begin() + int64_t{offset_E1[e]} * F,
                                         y_NF.begin() + int64_t{offset_E1[e + 1]} * F);
                    expect_product(x, weights[e], rows_E[e], y, what + " expert " + std::to_string(e));
                    expect_same_bits(y, gemm(one, x, weights[e], rows_E[e], what), what + ", gemm alone");
                }
            }
    }
}

// Experts of one shape, their tables as the header wants them, and which rows are whose. The pointers of an expert
// without rows are NULL.
struct Experts {
    std::vector<Weight> weights;
    std::vector<const void *> w_E, scale_E;
    int32_t format;

    Experts(int32_t format, const std::vector<int32_t> &rows_E, int64_t F, int64_t D, Random &random) : format(format) {
        for (size_t e = 0; e < rows_E.size(); e++) weights.emplace_back(format, F, D, random, 0.3f);
        for (size_t e = 0; e < rows_E.size(); e++) {
            w_E.push_back(rows_E[e] > 0 ? weights[e].data() : nullptr);
            scale_E.push_back(rows_E[e] > 0 ? weights[e].scale() : nullptr);
        }
    }

    const void *const *scales() const { return format >= PM_W_F8_E4M3_B128 ? scale_E.data() : nullptr; }
};

struct GroupedShape {
    int32_t T, D, F;
    std::vector<int32_t> rows_E;
    bool routed;  // else row n is token n
};

// One expert with more rows than a block; rows that stand in order, alone and twice; no rows at all. The last ones are
// more than stay in the cache at once, and wide enough that a piece has several tiles.
const std::vector<GroupedShape> kGrouped = {{3, 7, 5, {0, 0}, true},
                                            {1, 69, 7, {1, 0, 1, 1}, true},
                                            {4, 128, 131, {1, 1, 0, 5, 1, 2}, true},
                                            {90, 257, 50, {3, 80, 0, 1}, true},
                                            {7, 300, 130, {7}, false},
                                            {1, 576, 1031, {1}, false},
                                            {70, 40, 33, {0, 70}, false},
                                            {2, 2048, 512, {1, 1, 1, 2, 1, 1}, true},
                                            {3, 16, 2100, {2, 1, 2}, true},
                                            {150, 140, 520, {149, 1, 0, 70}, true}};

template <class Body>
void each_grouped(const char *function, Body body) {
    for (const std::string &isa : instruction_sets()) {
        Context one("threads=1 isa=" + isa), two("threads=2 isa=" + isa);
        for (int32_t format : kFormats)
            for (const GroupedShape &shape : kGrouped) {
                std::string what = name(function, isa, {shape.T, shape.D, shape.F}) + " " + format_name(format);
                Random random(kSeed);
                std::vector<int32_t> offset_E1 = {0}, token_N;
                std::vector<float> weight_N;
                for (int32_t rows : shape.rows_E) offset_E1.push_back(offset_E1.back() + rows);
                for (int32_t n = 0; n < offset_E1.back(); n++) {
                    token_N.push_back(n % 3 == 1 ? (token_N.back() + 1) % shape.T : random.below(shape.T));
                    weight_N.push_back(random.normal());
                }
                body(one, two, shape, format, offset_E1, token_N, weight_N, random, what);
            }
    }
}

// Bit for bit what the functions it is made of give, with NaN and infinity in their places.
void test_grouped_swiglu() {
    each_grouped("grouped_swiglu", [](const Context &one, const Context &two, const GroupedShape &shape, int32_t format,
                                      const std::vector<int32_t> &offset_E1, const std::vector<int32_t> &token_N,
                                      const std::vector<float> &, Random &random, const std::string &what) {
        int32_t T = shape.T, D = shape.D, F = shape.F, N = offset_E1.back();
        auto E = static_cast<int32_t>(shape.rows_E.size());
        Experts gate(format, shape.rows_E, F, D, random), up(format, shape.rows_E, F, D, random);
        std::vector<float> x_TD = random.normals(int64_t{T} * D), x_ND(area(N, D)), y_NF(area(N, F)), up_NF(area(N, F));
        if (T > 2) x_TD[area(1, D) + 3] = kNan, x_TD[area(2, D)] = -kInf;
        const int32_t *token = shape.routed ? token_N.data() : nullptr;
        if (shape.routed)
            one.ok(pm_gather(one, x_ND.data(), x_TD.data(), PM_F32, token, N, T, D), what);
        else
            x_ND = x_TD;
        one.ok(pm_grouped_gemm(one, y_NF.data(), x_ND.data(), PM_F32, gate.w_E.data(), gate.scales(), format,
                               offset_E1.data(), N, D, F, E),
               what);
        one.ok(pm_grouped_gemm(one, up_NF.data(), x_ND.data(), PM_F32, up.w_E.data(), up.scales(), format,
                               offset_E1.data(), N, D, F, E),
               what);
        one.ok(pm_swiglu(one, y_NF.data(), y_NF.data(), up_NF.data(), PM_F32, N, F), what);
        for (const Context *context : {&one, &two}) {
            std::vector<float> fused_NF(area(N, F), -3);
            context->ok(
                pm_grouped_swiglu(*context, fused_NF.data(), x_TD.data(), PM_F32, gate.w_E.data(), gate.scales(),
                                  up.w_E.data(), up.scales(), format, offset_E1.data(), token, N, T, D, F, E),
                what);
            expect_exact(y_NF, fused_NF, what);
        }
    });
}

void test_grouped_combine() {
    each_grouped(
        "grouped_combine", [](const Context &one, const Context &two, const GroupedShape &shape, int32_t format,
                              const std::vector<int32_t> &offset_E1, const std::vector<int32_t> &token_N,
                              const std::vector<float> &weight_N, Random &random, const std::string &what) {
            int32_t T = shape.T, D = shape.D, F = shape.F, N = offset_E1.back();
            auto E = static_cast<int32_t>(shape.rows_E.size());
            Experts down(format, shape.rows_E, D, F, random);
            std::vector<float> x_NF = random.normals(int64_t{N} * F), before_TD = random.normals(int64_t{T} * D),
                               y_TD = before_TD, x_ND(area(N, D));
            if (N > 2) x_NF[area(1, F) + 3] = kNan, x_NF[area(2, F)] = -kInf;
            one.ok(pm_grouped_gemm(one, x_ND.data(), x_NF.data(), PM_F32, down.w_E.data(), down.scales(), format,
                                   offset_E1.data(), N, F, D, E),
                   what);
            const int32_t *token = shape.routed ? token_N.data() : nullptr;
            const float *weight = shape.routed ? weight_N.data() : nullptr;
            if (shape.routed)
                one.ok(pm_combine(one, y_TD.data(), x_ND.data(), PM_F32, token, weight, N, T, D), what);
            else
                one.ok(pm_add(one, y_TD.data(), x_ND.data(), PM_F32, T, D), what);
            for (const Context *context : {&one, &two}) {
                std::vector<float> fused_TD = before_TD;
                context->ok(pm_grouped_combine(*context, fused_TD.data(), x_NF.data(), PM_F32, down.w_E.data(),
                                               down.scales(), format, offset_E1.data(), token, weight, N, T, D, F, E),
                            what);
                expect_exact(y_TD, fused_TD, what);
            }
        });
}

// More rows than a call lays, and more products than it keeps, at once.
void test_grouped_in_parts() {
    constexpr int32_t N = 1500, T = 2, D = 40000, F = 3, E = 2;
    Context context("");
    for (int32_t format : {PM_W_F32, PM_W_INT8}) {
        std::string what = std::string("grouped, in parts, ") + format_name(format);
        Random random(kSeed);
        std::vector<int32_t> offset_E1 = {0, N - 1, N}, token_N;
        std::vector<float> weight_N;
        for (int32_t n = 0; n < N; n++) token_N.push_back(random.below(T)), weight_N.push_back(random.normal());
        Experts gate(format, {N - 1, 1}, F, D, random), up(format, {N - 1, 1}, F, D, random),
            down(format, {N - 1, 1}, D, F, random);
        std::vector<float> x_TD = random.normals(int64_t{T} * D), x_ND(area(N, D)), y_NF(area(N, F)), up_NF(area(N, F)),
                           fused_NF(area(N, F));
        context.ok(pm_gather(context, x_ND.data(), x_TD.data(), PM_F32, token_N.data(), N, T, D), what);
        context.ok(pm_grouped_gemm(context, y_NF.data(), x_ND.data(), PM_F32, gate.w_E.data(), gate.scales(), format,
                                   offset_E1.data(), N, D, F, E),
                   what);
        context.ok(pm_grouped_gemm(context, up_NF.data(), x_ND.data(), PM_F32, up.w_E.data(), up.scales(), format,
                                   offset_E1.data(), N, D, F, E),
                   what);
        context.ok(pm_swiglu(context, y_NF.data(), y_NF.data(), up_NF.data(), PM_F32, N, F), what);
        context.ok(
            pm_grouped_swiglu(context, fused_NF.data(), x_TD.data(), PM_F32, gate.w_E.data(), gate.scales(),
                              up.w_E.data(), up.scales(), format, offset_E1.data(), token_N.data(), N, T, D, F, E),
            what);
        expect_same_bits(y_NF, fused_NF, what + " swiglu");
        std::vector<float> y_TD = x_TD, fused_TD = x_TD;
        context.ok(pm_grouped_gemm(context, x_ND.data(), y_NF.data(), PM_F32, down.w_E.data(), down.scales(), format,
                                   offset_E1.data(), N, F, D, E),
                   what);
        context.ok(pm_combine(context, y_TD.data(), x_ND.data(), PM_F32, token_N.data(), weight_N.data(), N, T, D),
                   what);
        context.ok(pm_grouped_combine(context, fused_TD.data(), y_NF.data(), PM_F32, down.w_E.data(), down.scales(),
                                      format, offset_E1.data(), token_N.data(), weight_N.data(), N, T, D, F, E),
                   what);
        expect_same_bits(y_TD, fused_TD, what + " combine");
    }
}

void test_rms_norm() {
    for (const std::string &isa : instruction_sets()) {
        Context one("threads=1 isa=" + isa), two("threads=2 isa=" + isa);
        for (int32_t format : kVectorFormats)
            for (auto [T, D] : {std::pair{0, 4}, {1, 1}, {3, 7}, {2, 69}, {5, 576}, {40, 1031}}) {
                std::string what = name("rms_norm", isa, {T, D}) + " " + format_name(format);
                Random random(kSeed);
                Weight w(format, 1, D, random);
                std::vector<float> x_TD = random.normals(int64_t{T} * D, 3), y_TD(x_TD.size(), kNan);
                if (T == 5) x_TD[static_cast<size_t>(D) + 3] = kNan, x_TD[area(3, D) + 575] = kInf;
                std::vector<double> expected(x_TD.size());
                float eps = 1e-6f;
                for (int64_t t = 0; t < T; t++) {
                    const float *x = &x_TD[area(t, D)];
                    double squares = 0;
                    for (int64_t d = 0; d < D; d++) squares += double{x[d]} * x[d];
                    for (int64_t d = 0; d < D; d++)
                        expected[area(t, D) + static_cast<size_t>(d)] =
                            x[d] / std::sqrt(squares / D + eps) * w.at(0, d);
                }
                one.ok(pm_rms_norm(one, y_TD.data(), x_TD.data(), PM_F32, w.data(), format, T, D, eps), what);
                expect_close(expected, y_TD, D, D, what);
                // In place, two threads.
                two.ok(pm_rms_norm(two, x_TD.data(), x_TD.data(), PM_F32, w.data(), format, T, D, eps), what);
                expect_same_bits(y_TD, x_TD, what + ", in place");
            }
    }
}

// Cosines and sines of S positions; the definition of the rotation.
struct Angles {
    int32_t S, Z;
    std::vector<float> cos_SZ, sin_SZ;

    Angles(int32_t S, int32_t Z, Random &random) : S(S), Z(Z) {
        for (int64_t i = 0; i < int64_t{S} * Z; i++) {
            double angle = random.uniform() * 6.28;
            cos_SZ.push_back(static_cast<float>(std::cos(angle)));
            sin_SZ.push_back(static_cast<float>(std::sin(angle)));
        }
    }

    double rotated(const float *x, int32_t position, int64_t r) const {
        size_t at = area(position, Z) + static_cast<size_t>(r / 2);
        double a = x[r / 2 * 2], b = x[r / 2 * 2 + 1];
        return r % 2 == 0 ? a * cos_SZ[at] - b * sin_SZ[at] : a * sin_SZ[at] + b * cos_SZ[at];
    }
};

void test_mla_query() {
    struct Shape {
        int32_t T, H, P, U, C, R;
    };
    const Shape shapes[] = {{0, 2, 3, 3, 5, 2},        {1, 1, 1, 1, 1, 2},     {3, 2, 5, 7, 69, 6},
                            {1, 4, 128, 128, 512, 64}, {2, 3, 69, 30, 131, 4}, {70, 2, 16, 8, 40, 8},
                            {9, 2, 100, 60, 200, 16},  {4, 1, 65, 3, 129, 2}};
    for (const std::string &isa : instruction_sets()) {
        Context one("threads=1 isa=" + isa), two("threads=2 isa=" + isa);
        for (int32_t format : kFormats)
            for (auto [T, H, P, U, C, R] : shapes) {
                std::string what = name("mla_query", isa, {T, H, P, U, C, R}) + " " + format_name(format);
                Random random(kSeed);
                int32_t S = 11, X = C + R;
                Weight kv_b(format, int64_t{H} * (P + U), C, random);
                Angles angles(S, R / 2, random);
                std::vector<float> q_in = random.normals(int64_t{T} * H * (P + R));
                std::vector<int32_t> position_T;
                for (int32_t t = 0; t < T; t++) position_T.push_back(random.below(S));
                std::vector<double> expected(area(T * H, X));
                for (int64_t t = 0; t < T; t++)
                    for (int64_t h = 0; h < H; h++) {
                        const float *in = &q_in[area(t * H + h, P + R)];
                        double *out = &expected[area(t * H + h, X)];
                        for (int64_t c = 0; c < C; c++)
                            for (int64_t p = 0; p < P; p++) out[c] += in[p] * kv_b.at(h * (P + U) + p, c);
                        for (int64_t r = 0; r < R; r++)
                            out[C + r] = angles.rotated(in + P, position_T[static_cast<size_t>(t)], r);
                    }
                auto compute = [&](const Context &context, int32_t from, int32_t to) {
                    std::vector<float> q(area((to - from) * H, X), kNan);
                    context.ok(pm_mla_query(context, q.data(), q_in.data() + area(from * H, P + R), PM_F32, kv_b.data(),
                                            kv_b.scale(), format, position_T.data() + from, angles.cos_SZ.data(),
                                            angles.sin_SZ.data(), to - from, H, P, U, C, R, S),
                               what);
                    return q;
                };
                std::vector<float> q = compute(one, 0, T);
                // Rope's values are of another size than the product's: two rows each.
                std::vector<double> expected_C, expected_R;
                std::vector<float> q_C, q_R;
                for (size_t i = 0; i < q.size(); i++) {
                    bool rope = i % static_cast<size_t>(X) >= static_cast<size_t>(C);
                    (rope ? expected_R : expected_C).push_back(expected[i]);
                    (rope ? q_R : q_C).push_back(q[i]);
                }
                expect_close(expected_C, q_C, C, P, what);
                expect_close(expected_R, q_R, R, 2, what + " rope");
                expect_same_bits(q, compute(two, 0, T), what + ", two threads");
                for (int32_t t = 0; t < std::min(T, 5); t++)
                    expect_same_bits(
                        std::vector<float>(q.begin() + int64_t{t} * H * X, q.begin() + int64_t{t + 1} * H * X),
                        compute(two, t, t + 1), what + ", a row alone");
            }
    }
}

void test_mla_output() {
    struct Shape {
        int32_t T, H, P, U, C;
    };
    const Shape shapes[] = {
        {0, 2, 3, 3, 5}, {1, 3, 5, 7, 69}, {2, 2, 128, 128, 512}, {6, 2, 69, 30, 131}, {67, 1, 9, 3, 40}};
    for (const std::string &isa : instruction_sets()) {
        Context one("threads=1 isa=" + isa), two("threads=2 isa=" + isa);
        for (int32_t format : kFormats)
            for (auto [T, H, P, U, C] : shapes) {
                std::string what = name("mla_output", isa, {T, H, P, U, C}) + " " + format_name(format);
                Random random(kSeed);
                Weight kv_b(format, int64_t{H} * (P + U), C, random);
                std::vector<float> o = random.normals(int64_t{T} * H * C);
                std::vector<double> expected(area(T * H, U));
                for (int64_t t = 0; t < T; t++)
                    for (int64_t h = 0; h < H; h++)
                        for (int64_t u = 0; u < U; u++)
                            for (int64_t c = 0; c < C; c++)
                                expected[area(t * H + h, U) + static_cast<size_t>(u)] +=
                                    o[area(t * H + h, C) + static_cast<size_t>(c)] * kv_b.at(h * (P + U) + P + u, c);
                auto compute = [&](const Context &context, int32_t from, int32_t to) {
                    std::vector<float> out(area((to - from) * H, U), kNan);
                    context.ok(pm_mla_output(context, out.data(), o.data() + area(from * H, C), PM_F32, kv_b.data(),
                                             kv_b.scale(), format, to - from, H, P, U, C),
                               what);
                    return out;
                };
                std::vector<float> out = compute(one, 0, T);
                expect_close(expected, out, U, C, what);
                expect_same_bits(out, compute(two, 0, T), what + ", two threads");
                for (int32_t t = 0; t < std::min(T, 3); t++)
                    expect_same_bits(
                        std::vector<float>(out.begin() + int64_t{t} * H * U, out.begin() + int64_t{t + 1} * H * U),
                        compute(two, t, t + 1), what + ", a row alone");
            }
    }
}

// A cache of several requests whose pages lie in no order.
struct Cache {
    int32_t A, M, B, X, page_count;
    std::vector<int32_t> table_AM;
    std::vector<float> pages;

    Cache(int32_t A, int32_t M, int32_t B, int32_t X, Random &random) : A(A), M(M), B(B), X(X), page_count(A * M + 1) {
        for (int32_t i = 0; i < A * M; i++) table_AM.push_back(i + 1);
        for (size_t i = table_AM.size(); i > 1; i--)
            std::swap(table_AM[i - 1], table_AM[static_cast<size_t>(random.below(static_cast<int32_t>(i)))]);
        pages = random.normals(int64_t{page_count} * B * X);
    }

    size_t row(int64_t request, int64_t position) const {
        int64_t page = table_AM[static_cast<size_t>(request * M + position / B)];
        return static_cast<size_t>((page * B + position % B) * X);
    }
};

void test_latent_append() {
    for (const std::string &isa : instruction_sets()) {
        for (int32_t threads : {1, 2}) {
            Context context("threads=" + std::to_string(threads) + " isa=" + isa);
            for (int32_t format : kVectorFormats)
                for (auto [C, R, B] : {std::tuple{1, 2, 1}, {69, 6, 3}, {512, 64, 64}, {7, 4, 16}}) {
                    std::string what = name("latent_append", isa, {C, R, B}) + " " + format_name(format);
                    Random random(kSeed);
                    int32_t A = 3, M = 5, X = C + R, S = M * B;
                    Cache cache(A, M, B, X, random);
                    Angles angles(S, R / 2, random);
                    Weight norm(format, 1, C, random);
                    std::vector<int32_t> request_T, position_T;
                    for (int32_t a = 0; a < A; a++)
                        for (int32_t s = a; s < S; s += 2) request_T.push_back(a), position_T.push_back(s);
                    auto T = static_cast<int32_t>(request_T.size());
                    std::vector<float> kv = random.normals(int64_t{T} * X);
                    std::vector<float> before = cache.pages;
                    std::vector<double> expected(before.begin(), before.end());
                    std::vector<bool> written(before.size());
                    for (int64_t t = 0; t < T; t++) {
                        size_t at = cache.row(request_T[static_cast<size_t>(t)], position_T[static_cast<size_t>(t)]);
                        const float *x = &kv[area(t, X)];
                        double squares = 0;
                        for (int64_t c = 0; c < C; c++) squares += double{x[c]} * x[c];
                        for (int64_t c = 0; c < C; c++)
                            expected[at + static_cast<size_t>(c)] =
                                x[c] / std::sqrt(squares / C + 1e-6) * norm.at(0, c);
                        for (int64_t r = 0; r < R; r++)
                            expected[at + static_cast<size_t>(C + r)] =
                                angles.rotated(x + C, position_T[static_cast<size_t>(t)], r);
                        for (int64_t i = 0; i < X; i++) written[at + static_cast<size_t>(i)] = true;
                    }
                    context.ok(pm_latent_append(context, cache.pages.data(), PM_CACHE_F32, kv.data(), PM_F32,
                                                norm.data(), format, 1e-6f, cache.table_AM.data(), request_T.data(),
                                                position_T.data(), angles.cos_SZ.data(), angles.sin_SZ.data(), T, C, R,
                                                A, M, B, cache.page_count, S),
                               what);
                    for (size_t i = 0; i < before.size(); i++)
                        expect(written[i]
                                   ? std::fabs(cache.pages[i] - expected[i]) <= 1e-5 * (1 + std::fabs(expected[i]))
                                   : cache.pages[i] == before[i],
                               "%s: element %zu is %.9g, should be %.9g", what.c_str(), i, cache.pages[i], expected[i]);
                }
        }
    }
}

std::vector<double> attention(const Cache &cache, const std::vector<float> &q, const std::vector<int32_t> &request_T,
                              const std::vector<int32_t> &position_T, float scale, int64_t H, int64_t C) {
    std::vector<double> o;
    for (size_t t = 0; t < request_T.size(); t++)
        for (int64_t h = 0; h < H; h++) {
            const float *query = &q[area(static_cast<int64_t>(t) * H + h, cache.X)];
            std::vector<double> share, sum(static_cast<size_t>(C));
            double most = -INFINITY, total = 0;
            for (int64_t s = 0; s <= position_T[t]; s++) {
                double dot = 0;
                for (int64_t i = 0; i < cache.X; i++)
                    dot += double{query[i]} * cache.pages[cache.row(request_T[t], s) + static_cast<size_t>(i)];
                share.push_back(dot * scale);
                most = std::max(most, share.back());
            }
            for (double &each : share) total += each = std::exp(each - most);
            for (int64_t s = 0; s <= position_T[t]; s++)
                for (int64_t c = 0; c < C; c++)
                    sum[static_cast<size_t>(c)] += share[static_cast<size_t>(s)] / total *
                                                   cache.pages[cache.row(request_T[t], s) + static_cast<size_t>(c)];
            o.insert(o.end(), sum.begin(), sum.end());
        }
    return o;
}

void test_mla_attention() {
    struct Shape {
        int32_t H, C, R, B, M;
    };
    const Shape shapes[] = {{1, 1, 2, 1, 3},    {3, 69, 6, 3, 9},   {16, 512, 64, 64, 3},
                            {9, 40, 8, 64, 2},  {5, 33, 4, 100, 2}, {2, 16, 2, 130, 2},
                            {37, 69, 6, 64, 2}, {128, 40, 8, 64, 2}};  // several pieces of heads
    for (const std::string &isa : instruction_sets()) {
        Context one("threads=1 isa=" + isa), two("threads=2 isa=" + isa);
        for (auto [H, C, R, B, M] : shapes) {
            std::string what = name("mla_attention", isa, {H, C, R, B, M});
            Random random(kSeed);
            int32_t A = 2, X = C + R;
            Cache cache(A, M, B, X, random);
            // Only what a row reaches may be looked at: the rest of the table names no page.
            std::vector<int32_t> request_T, position_T;
            int32_t longest = M * B - 2;
            for (int32_t position : {0, 1, B - 1, B, longest})
                for (int32_t a = 0; a < A; a++)
                    if (position >= 0 && position <= longest) request_T.push_back(a), position_T.push_back(position);
            auto T = static_cast<int32_t>(request_T.size());
            std::vector<float> q = random.normals(int64_t{T} * H * X);
            // Scores of a size where the maximum matters.
            float scale = 4.0f / std::sqrt(static_cast<float>(X));
            auto compute = [&](const Context &context, size_t from, size_t to) {
                std::vector<float> o((to - from) * area(H, C), kNan);
                std::vector<int32_t> table_AM(cache.table_AM.size(), -1);
                for (size_t t = from; t < to; t++) {
                    int32_t first = request_T[t] * M, reached = position_T[t] / B;
                    std::copy_n(cache.table_AM.begin() + first, reached + 1, table_AM.begin() + first);
                }
                context.ok(
                    pm_mla_attention(context, o.data(), q.data() + from * area(H, X), PM_F32, cache.pages.data(),
                                     PM_CACHE_F32, table_AM.data(), request_T.data() + from, position_T.data() + from,
                                     scale, static_cast<int32_t>(to - from), H, C, R, A, M, B, cache.page_count),
                    what);
                return o;
            };
            std::vector<float> o = compute(one, 0, static_cast<size_t>(T));
            // exp turns an error of 1e-6 in a score of about 10 into 1e-5 of a share.
            expect_close(attention(cache, q, request_T, position_T, scale, H, C), o, int64_t{H} * C, 4 * 1024, what);
            expect_same_bits(o, compute(two, 0, static_cast<size_t>(T)), what + ", two threads");
            for (size_t t = 0; t < static_cast<size_t>(T); t++)
                expect_same_bits({o.begin() + static_cast<int64_t>(t * area(H, C)),
                                  o.begin() + static_cast<int64_t>((t + 1) * area(H, C))},
                                 compute(two, t, t + 1), what + ", a row alone");
            // The same rows in other pages.
            Cache moved = cache;
            std::reverse(moved.table_AM.begin(), moved.table_AM.end());
            for (int32_t a = 0; a < A; a++)
                for (int32_t s = 0; s < M * B; s++)
                    std::copy_n(&cache.pages[cache.row(a, s)], X, &moved.pages[moved.row(a, s)]);
            std::swap(moved, cache);
            expect_same_bits(o, compute(two, 0, static_cast<size_t>(T)), what + ", other pages");
        }
    }
}

// Infinite and NaN scores mean what the definition says; a NaN beyond a row's position is not seen.
void test_mla_attention_not_finite() {
    for (const std::string &isa : instruction_sets()) {
        Context context("threads=1 isa=" + isa);
        Random random(kSeed);
        int32_t H = 3, C = 20, R = 2, B = 4, M = 4, X = C + R;
        Cache cache(1, M, B, X, random);
        // The keys of the first two pages have score -inf, position 9 is NaN.
        std::vector<float> q(area(3 * H, X), 1.0f);
        for (int32_t s = 0; s < 8; s++) cache.pages[cache.row(0, s) + static_cast<size_t>(C)] = -kInf;
        cache.pages[cache.row(0, 9)] = kNan;
        std::vector<int32_t> request_T = {0, 0, 0}, position_T = {8, 3, 10};
        std::vector<float> o(area(3 * H, C));
        context.ok(pm_mla_attention(context, o.data(), q.data(), PM_F32, cache.pages.data(), PM_CACHE_F32,
                                    cache.table_AM.data(), request_T.data(), position_T.data(), 0.5f, 3, H, C, R, 1, M,
                                    B, cache.page_count),
                   "mla_attention, not finite");
        for (size_t i = 0; i < o.size(); i++) {
            // Only position 8 has a share; all shares are NaN where every score is -inf, or one is NaN.
            bool first = i < area(H, C);
            float expected = cache.pages[cache.row(0, 8) + i % static_cast<size_t>(C)];
            expect(first ? o[i] == expected : std::isnan(o[i]), "isa=%s: o[%zu] is %g", isa.c_str(), i, o[i]);
        }
    }
}

// The definition of mla_expanded, in double.
std::vector<double> expanded(const Cache &cache, const Weight &kv_b, const Angles &angles,
                             const std::vector<float> &q_in, const std::vector<int32_t> &request_T,
                             const std::vector<int32_t> &position_T, double scale, int64_t H, int64_t P, int64_t U) {
    int64_t C = kv_b.D, R = 2 * int64_t{angles.Z};
    std::vector<double> o(area(static_cast<int64_t>(request_T.size()) * H, U));
    for (int64_t h = 0; h < H; h++) {
        int32_t request = -1;
        std::vector<std::vector<double>> kv;  // of the request's positions so far: P + U values
        for (size_t t = 0; t < request_T.size(); t++) {
            if (request_T[t] != request) kv.clear();
            request = request_T[t];
            for (auto s = static_cast<int32_t>(kv.size()); s <= position_T[t]; s++) {
                std::vector<double> &row = kv.emplace_back(static_cast<size_t>(P + U));
                const float *latent = &cache.pages[cache.row(request, s)];
                for (int64_t f = 0; f < P + U; f++)
                    for (int64_t c = 0; c < C; c++)
                        row[static_cast<size_t>(f)] += kv_b.at(h * (P + U) + f, c) * latent[c];
            }
            const float *q = &q_in[area(static_cast<int64_t>(t) * H + h, P + R)];
            std::vector<double> share;
            double most = -INFINITY, total = 0;
            for (int32_t s = 0; s <= position_T[t]; s++) {
                const float *key = &cache.pages[cache.row(request, s) + static_cast<size_t>(C)];
                double dot = 0;
                for (int64_t p = 0; p < P; p++) dot += q[p] * kv[static_cast<size_t>(s)][static_cast<size_t>(p)];
                for (int64_t r = 0; r < R; r++) dot += angles.rotated(q + P, position_T[t], r) * key[r];
                share.push_back(dot * scale);
                most = std::max(most, share.back());
            }
            for (double &each : share) total += each = std::exp(each - most);
            double *out = &o[area(static_cast<int64_t>(t) * H + h, U)];
            for (size_t s = 0; s < share.size(); s++)
                for (int64_t u = 0; u < U; u++) out[u] += share[s] / total * kv[s][static_cast<size_t>(P + u)];
        }
    }
    return o;
}

struct Expanded {
    Cache cache;
    Weight kv_b;
    Angles angles;
    std::vector<float> q_in;
    std::vector<int32_t> request_T, position_T;
    float scale;
    int32_t A, H, P, U, R, M, B;

    // Rows [from, to); of the table only what they reach is there.
    std::vector<float> compute(const Context &context, size_t from, size_t to, const std::string &what) const {
        std::vector<float> o((to - from) * area(H, U), kNan);
        std::vector<int32_t> table_AM(cache.table_AM.size(), -1);
        for (size_t t = from; t < to; t++)
            std::copy_n(cache.table_AM.begin() + request_T[t] * M, position_T[t] / B + 1,
                        table_AM.begin() + request_T[t] * M);
        context.ok(pm_mla_expanded(context, o.data(), q_in.data() + from * area(H, P + R), PM_F32, cache.pages.data(),
                                   PM_CACHE_F32, kv_b.data(), kv_b.scale(), kv_b.format, table_AM.data(),
                                   request_T.data() + from, position_T.data() + from, angles.cos_SZ.data(),
                                   angles.sin_SZ.data(), scale, static_cast<int32_t>(to - from), H, P, U,
                                   static_cast<int32_t>(kv_b.D), R, A, M, B, cache.page_count, angles.S),
                   what);
        return o;
    }

    std::vector<double> defined() const {
        return expanded(cache, kv_b, angles, q_in, request_T, position_T, scale, H, P, U);
    }
};

void test_mla_expanded() {
    struct Shape {
        int32_t H, P, U, C, R, B, S;
        std::vector<int32_t> rows;  // of each request: how many, its last ones
    };
    const Shape shapes[] = {{1, 1, 1, 1, 2, 1, 4, {1, 3}},
                            {3, 5, 7, 69, 6, 3, 300, {2, 0, 40}},
                            {2, 100, 65, 130, 64, 64, 520, {130, 1, 9}},
                            {16, 20, 24, 40, 8, 100, 258, {3, 50}},
                            {1, 130, 129, 16, 10, 64, 700, {530}},  // more rows than share a block
                            {2, 128, 128, 512, 64, 64, 260, {70}}};
    for (const std::string &isa : instruction_sets()) {
        Context one("threads=1 isa=" + isa), two("threads=2 isa=" + isa);
        for (const Shape &shape : shapes)
            for (int32_t format : kFormats) {
                auto [H, P, U, C, R, B, S, rows] = shape;
                if (format != PM_W_BF16 && (C == 512 || S > 600)) continue;  // the definition takes long
                std::string what = name("mla_expanded", isa, {H, P, U, C, R, B, S}) + " " + format_name(format);
                Random random(kSeed);
                auto A = static_cast<int32_t>(rows.size());
                int32_t M = (S + B - 1) / B, X = C + R;
                Expanded given{Cache(A, M, B, X, random),
                               Weight(format, int64_t{H} * (P + U), C, random),
                               Angles(S, R / 2, random),
                               {},
                               {},
                               {},
                               4.0f / std::sqrt(static_cast<float>((P + R) * C)),
                               A,
                               H,
                               P,
                               U,
                               R,
                               M,
                               B};
                for (int32_t a = 0; a < A; a++)
                    for (int32_t i = rows[static_cast<size_t>(a)]; i > 0; i--)
                        given.request_T.push_back(a), given.position_T.push_back(S - a - i);
                size_t T = given.request_T.size();
                given.q_in = random.normals(static_cast<int64_t>(T) * H * (P + R));
                std::vector<float> o = given.compute(one, 0, T, what);
                expect_close(given.defined(), o, int64_t{H} * U, 4 * 1024, what);
                expect_same_bits(o, given.compute(two, 0, T, what), what + ", two threads");
                for (size_t cut : {size_t{1}, size_t{7}, size_t{100}}) {
                    std::vector<float> parts;
                    for (size_t from = 0; from < std::min(T, 50 * cut); from += cut) {
                        std::vector<float> part = given.compute(two, from, std::min(T, from + cut), what);
                        parts.insert(parts.end(), part.begin(), part.end());
                    }
                    expect_same_bits({o.begin(), o.begin() + static_cast<int64_t>(parts.size())}, parts,
                                     what + ", in parts of " + std::to_string(cut));
                }
                // In another order, and each beside one of another position.
                Expanded turned = given;
                std::vector<float> expected;
                for (size_t t = 0; t < T; t++) {
                    size_t from = T - 1 - t;
                    turned.request_T[t] = given.request_T[from], turned.position_T[t] = given.position_T[from];
                    std::copy_n(&given.q_in[from * area(H, P + R)], area(H, P + R), &turned.q_in[t * area(H, P + R)]);
                    expected.insert(expected.end(), &o[from * area(H, U)], &o[from * area(H, U)] + area(H, U));
                }
                expect_same_bits(expected, turned.compute(two, 0, T, what), what + ", backwards");
            }
    }
}

// A NaN in the cache is seen by the rows at its position and behind, an infinite score has the only share.
void test_mla_expanded_not_finite() {
    for (const std::string &isa : instruction_sets()) {
        Context context("threads=1 isa=" + isa);
        for (int32_t bad : {5, 260, 290}) {
            Random random(kSeed);
            int32_t H = 2, P = 6, U = 5, C = 20, R = 4, B = 16, S = 300, M = 19;
            Expanded given{Cache(1, M, B, C + R, random),
                           Weight(PM_W_F32, int64_t{H} * (P + U), C, random),
                           Angles(S, R / 2, random),
                           {},
                           {},
                           {},
                           0.1f,
                           1,
                           H,
                           P,
                           U,
                           R,
                           M,
                           B};
            for (int32_t s = 250; s < S; s++) given.request_T.push_back(0), given.position_T.push_back(s);
            given.q_in = random.normals(int64_t{50} * H * (P + R));
            for (int32_t r = 0; r < 50; r += 49)  // one value of a latent, of a rotated key
                given.cache.pages[given.cache.row(0, bad + (r > 0)) + static_cast<size_t>(r > 0 ? C + 1 : 3)] = kNan;
            std::vector<float> o = given.compute(context, 0, 50, "mla_expanded, NaN");
            for (size_t i = 0; i < o.size(); i++)
                expect(std::isnan(o[i]) == (given.position_T[i / area(H, U)] >= bad), "isa=%s: NaN at %d: o[%zu] is %g",
                       isa.c_str(), bad, i, o[i]);
        }
    }
}

void test_gather() {
    for (const std::string &isa : instruction_sets())
        for (auto [N, T, D] : {std::tuple{0, 1, 1}, {1, 1, 1}, {7, 3, 69}, {300, 5, 576}}) {
            Context context("threads=2 isa=" + isa);
            Random random(kSeed);
            std::vector<float> x_TD = random.normals(int64_t{T} * D), y_ND(area(N, D));
            std::vector<int32_t> token_N;
            for (int32_t n = 0; n < N; n++) token_N.push_back(random.below(T));
            context.ok(pm_gather(context, y_ND.data(), x_TD.data(), PM_F32, token_N.data(), N, T, D), "gather");
            std::vector<float> expected;
            for (int32_t token : token_N)
                expected.insert(expected.end(), x_TD.begin() + int64_t{token} * D,
                                x_TD.begin() + int64_t{token + 1} * D);
            expect_same_bits(expected, y_ND, name("gather", isa, {N, T, D}));
        }
}

void test_combine() {
    for (const std::string &isa : instruction_sets())
        for (auto [N, T, D] : {std::tuple{0, 1, 1}, {1, 1, 1}, {7, 3, 69}, {300, 5, 576}}) {
            std::string what = name("combine", isa, {N, T, D});
            Context one("threads=1 isa=" + isa), two("threads=2 isa=" + isa);
            Random random(kSeed);
            std::vector<float> x_ND = random.normals(int64_t{N} * D), y_TD = random.normals(int64_t{T} * D);
            std::vector<float> weight_N = random.normals(N), again_TD = y_TD;
            std::vector<int32_t> token_N;
            std::vector<double> expected(y_TD.begin(), y_TD.end());
            for (int64_t n = 0; n < N; n++) {
                token_N.push_back(random.below(T));
                for (int64_t d = 0; d < D; d++)
                    expected[area(token_N.back(), D) + static_cast<size_t>(d)] +=
                        double{weight_N[static_cast<size_t>(n)]} * x_ND[area(n, D) + static_cast<size_t>(d)];
            }
            one.ok(pm_combine(one, y_TD.data(), x_ND.data(), PM_F32, token_N.data(), weight_N.data(), N, T, D), what);
            two.ok(pm_combine(two, again_TD.data(), x_ND.data(), PM_F32, token_N.data(), weight_N.data(), N, T, D),
                   what);
            expect_close(expected, y_TD, D, N, what);
            expect_same_bits(y_TD, again_TD, what + ", two threads");
        }
}

void test_swiglu() {
    for (const std::string &isa : instruction_sets()) {
        Context one("threads=1 isa=" + isa), two("threads=2 isa=" + isa);
        for (auto [N, F] : {std::pair{0, 1}, {1, 1}, {3, 7}, {5, 69}, {60, 1031}}) {
            std::string what = name("swiglu", isa, {N, F});
            Random random(kSeed);
            std::vector<float> gate = random.normals(int64_t{N} * F, 8), up = random.normals(int64_t{N} * F);
            if (N == 5) gate[3] = kNan, gate[100] = kInf, gate[101] = -kInf, gate[200] = -200, gate[201] = 200;
            std::vector<float> y(gate.size());
            one.ok(pm_swiglu(one, y.data(), gate.data(), up.data(), PM_F32, N, F), what);
            for (size_t i = 0; i < y.size(); i++) {
                double z = gate[i], expected = z / (1 + std::exp(-z)) * up[i];
                // 4 roundings and exp's 2 units; below -88.7, where silu is less than 1e-36, it may be 0.
                bool same = std::isnan(expected)
                                ? std::isnan(y[i])
                                : y[i] == expected || std::fabs(y[i] - expected) <= 8e-7 * std::fabs(expected) + 1e-36;
                expect(same, "%s: silu(%g) * %g is %.9g, should be %.9g", what.c_str(), gate[i], up[i], y[i], expected);
            }
            std::vector<float> in_gate = gate, in_up = up;
            two.ok(pm_swiglu(two, in_gate.data(), in_gate.data(), up.data(), PM_F32, N, F), what);
            two.ok(pm_swiglu(two, in_up.data(), gate.data(), in_up.data(), PM_F32, N, F), what);
            expect_same_bits(y, in_gate, what + ", y is gate");
            expect_same_bits(y, in_up, what + ", y is up");
            // The same element gives the same bits wherever it stands.
            for (int64_t i = 0; i < std::min<int64_t>(N * F, 40); i++) {
                float alone;
                auto at = static_cast<size_t>(i);
                one.ok(pm_swiglu(one, &alone, &gate[at], &up[at], PM_F32, 1, 1), what);
                expect(std::memcmp(&alone, &y[at], 4) == 0, "%s: element %zu alone differs", what.c_str(), at);
            }
        }
    }
}

// exp as it is seen through swiglu with up = 1: silu(z) is z / (1 + exp(-z)); its error is measured where it is
// largest.
void test_exp() {
    for (const std::string &isa : instruction_sets()) {
        Context context("threads=1 isa=" + isa);
        std::vector<float> gate, up, y;
        for (double z = -87; z < 20; z += 0.0137) gate.push_back(static_cast<float>(z)), up.push_back(1);
        y.resize(gate.size());
        context.ok(pm_swiglu(context, y.data(), gate.data(), up.data(), PM_F32, 1, static_cast<int32_t>(gate.size())),
                   "exp");
        double worst = 0;
        for (size_t i = 0; i < y.size(); i++) {
            double z = gate[i], expected = z / (1 + std::exp(-z));
            worst = std::max(worst, std::fabs(y[i] - expected) / std::fabs(expected));
        }
        // exp 2 units of 2^-24 .. 2^-23, then an addition and a division of half a unit each.
        expect(worst < 4.0 * 0x1p-23, "isa=%s: silu's relative error is %g", isa.c_str(), worst);
    }
}

void test_add() {
    for (const std::string &isa : instruction_sets())
        for (auto [T, D] : {std::pair{0, 1}, {1, 1}, {3, 7}, {5, 69}, {60, 1031}}) {
            Context context("threads=2 isa=" + isa);
            Random random(kSeed);
            std::vector<float> y = random.normals(int64_t{T} * D), x = random.normals(int64_t{T} * D), expected = y;
            for (size_t i = 0; i < y.size(); i++) expected[i] += x[i];
            context.ok(pm_add(context, y.data(), x.data(), PM_F32, T, D), "add");
            expect_same_bits(expected, y, name("add", isa, {T, D}));
        }
}

void test_embed() {
    for (const std::string &isa : instruction_sets())
        for (int32_t format : kFormats)
            for (auto [T, V, D] : {std::tuple{0, 1, 1}, {1, 1, 1}, {7, 3, 69}, {50, 40, 576}}) {
                Context context("threads=2 isa=" + isa);
                Random random(kSeed);
                Weight w(format, V, D, random);
                std::vector<float> y(area(T, D)), expected;
                std::vector<int32_t> token_T;
                for (int32_t t = 0; t < T; t++) {
                    token_T.push_back(random.below(V));
                    auto row = w.value_FD.begin() + int64_t{token_T.back()} * D;
                    expected.insert(expected.end(), row, row + D);
                }
                context.ok(pm_embed(context, y.data(), PM_F32, w.data(), w.scale(), format, token_T.data(), T, V, D),
                           "embed");
                expect_same_bits(expected, y, name("embed", isa, {T, V, D}) + " " + format_name(format));
            }
}

void test_argmax() {
    for (const std::string &isa : instruction_sets()) {
        Context context("threads=2 isa=" + isa);
        auto index = [&](std::vector<float> x) {
            int32_t result = -1;
            context.ok(pm_argmax(context, &result, x.data(), PM_F32, 1, static_cast<int32_t>(x.size())), "argmax");
            return result;
        };
        expect(index({3}) == 0, "one element");
        expect(index({kNan}) == 0 && index({kNan, kNan, kNan}) == 0, "all NaN: 0");
        expect(index({kNan, -kInf, kNan}) == 1, "NaN is never chosen");
        expect(index({-kInf, -kInf}) == 0, "the lowest of equals");
        expect(index({-0.0f, 0.0f}) == 0, "zeros are equal");
        expect(index({-5, -3, -3, -4}) == 1, "a tie");
        for (size_t V : {1u, 7u, 16u, 69u, 1000u}) {
            Random random(kSeed);
            std::vector<float> x_TV, expected;
            std::vector<int32_t> index_T(200), expected_T;
            for (size_t t = 0; t < index_T.size(); t++) {
                std::vector<float> x;
                for (size_t v = 0; v < V; v++)
                    x.push_back(random.below(9) == 0 ? kNan : static_cast<float>(random.below(50)) - 25);
                int32_t best = -1;
                for (size_t v = 0; v < V; v++)
                    if (!std::isnan(x[v]) && (best < 0 || x[v] > x[static_cast<size_t>(best)]))
                        best = static_cast<int32_t>(v);
                expected_T.push_back(std::max(best, 0));
                x_TV.insert(x_TV.end(), x.begin(), x.end());
            }
            context.ok(pm_argmax(context, index_T.data(), x_TV.data(), PM_F32, 200, static_cast<int32_t>(V)), "argmax");
            expect(index_T == expected_T, "isa=%s: argmax of 200 rows of %zu", isa.c_str(), V);
        }
    }
}

void test_score() {
    for (const std::string &isa : instruction_sets())
        for (auto [T, E] : {std::pair{0, 1}, {1, 1}, {3, 7}, {5, 256}, {300, 160}}) {
            Context context("threads=2 isa=" + isa);
            Random random(kSeed);
            std::vector<float> gate = random.normals(int64_t{T} * E, 5), sigmoid = gate, softmax = gate;
            context.ok(pm_score(context, sigmoid.data(), PM_F32, PM_SIGMOID, T, E), "score");
            context.ok(pm_score(context, softmax.data(), PM_F32, PM_SOFTMAX, T, E), "score");
            for (size_t t = 0; t < static_cast<size_t>(T); t++) {
                double sum = 0;
                for (size_t e = 0; e < static_cast<size_t>(E); e++)
                    sum += std::exp(static_cast<double>(gate[t * static_cast<size_t>(E) + e]));
                for (size_t e = 0; e < static_cast<size_t>(E); e++) {
                    size_t i = t * static_cast<size_t>(E) + e;
                    double z = gate[i];
                    expect(std::fabs(sigmoid[i] * (1 + std::exp(-z)) - 1) < 1e-6, "sigmoid(%g) is %.9g", z, sigmoid[i]);
                    expect(std::fabs(softmax[i] / (std::exp(z) / sum) - 1) < 1e-6, "softmax(%g) is %.9g", z,
                           softmax[i]);
                }
            }
        }
}

// Against sorting: groups by worth, experts by biased score, the lower index first among equals.
void test_route() {
    struct Shape {
        int32_t T, E, K, G, kept, best;
    };
    const Shape shapes[] = {{0, 4, 1, 1, 1, 1},   {1, 1, 1, 1, 1, 1},  {7, 256, 8, 8, 4, 2},
                            {5, 160, 6, 8, 3, 1}, {5, 64, 6, 1, 1, 1}, {9, 33, 11, 3, 1, 2}};
    for (const std::string &isa : instruction_sets()) {
        Context context("threads=2 isa=" + isa);
        for (auto [T, E, K, G, kept, best] : shapes) {
            std::string what = name("route", isa, {T, E, K, G, kept, best});
            Random random(kSeed);
            std::vector<float> score(area(T, E)), bias;
            for (float &s : score) s = static_cast<float>(1 + random.below(8)) / 8;  // many ties
            for (int32_t e = 0; e < E; e++) bias.push_back(static_cast<float>(random.below(5)) / 8);
            std::vector<int32_t> expert(area(T, K)), offset(static_cast<size_t>(E) + 1, -1), token(area(T, K));
            std::vector<float> share(area(T, K)), weight(area(T, K));
            context.ok(pm_route(context, expert.data(), share.data(), offset.data(), token.data(), weight.data(),
                                score.data(), PM_F32, bias.data(), T, E, K, G, kept, best, 1, 2.5f),
                       what);
            std::vector<std::tuple<int32_t, int32_t, float>> sorted;
            for (int32_t t = 0; t < T; t++) {
                const float *s = &score[area(t, E)];
                auto biased = [&](int32_t e) { return s[e] + bias[static_cast<size_t>(e)]; };
                std::vector<std::pair<float, int32_t>> groups, open;
                for (int32_t g = 0; g < G; g++) {
                    std::vector<float> in_group;
                    for (int32_t e = g * (E / G); e < (g + 1) * (E / G); e++) in_group.push_back(-biased(e));
                    std::sort(in_group.begin(), in_group.end());
                    float worth = in_group[0];
                    if (best == 2 && in_group.size() > 1) worth += in_group[1];
                    groups.emplace_back(worth, g);
                }
                std::sort(groups.begin(), groups.end());
                groups.resize(static_cast<size_t>(kept));
                for (auto [worth, g] : groups)
                    for (int32_t e = g * (E / G); e < (g + 1) * (E / G); e++) open.emplace_back(-biased(e), e);
                std::sort(open.begin(), open.end());
                float sum = 0;
                for (int32_t k = 0; k < K; k++) sum += s[open[static_cast<size_t>(k)].second];
                for (int32_t k = 0; k < K; k++) {
                    int32_t e = open[static_cast<size_t>(k)].second;
                    size_t i = area(t, K) + static_cast<size_t>(k);
                    expect(expert[i] == e, "%s: choice %d of token %d is %d, should be %d", what.c_str(), k, t,
                           expert[i], e);
                    expect(share[i] == s[e] / (sum + 1e-20f) * 2.5f, "%s: share %g", what.c_str(), share[i]);
                    sorted.emplace_back(e, t, share[i]);
                }
            }
            std::sort(sorted.begin(), sorted.end());
            expect(offset[0] == 0 && offset[static_cast<size_t>(E)] == T * K, "%s: offsets", what.c_str());
            for (size_t n = 0; n < sorted.size(); n++) {
                auto [e, t, of] = sorted[n];
                auto row = static_cast<int32_t>(n);
                expect(offset[static_cast<size_t>(e)] <= row && row < offset[static_cast<size_t>(e) + 1],
                       "%s: row %d is not expert %d's", what.c_str(), row, e);
                expect(token[n] == t && weight[n] == of, "%s: row %d is token %d", what.c_str(), row, token[n]);
            }
        }
        float one = 0, four[4] = {};
        int32_t integers[5];
        context.refused(
            pm_route(context, integers, &one, integers, integers, &one, four, PM_F32, nullptr, 1, 4, 1, 4, 1, 2, 1, 1),
            "best is 2, a group has 1 experts");
        context.refused(
            pm_route(context, integers, &one, integers, integers, &one, four, PM_F32, nullptr, 1, 4, 3, 4, 2, 1, 1, 1),
            "K is 3, 2 of 4 groups have 2 experts");
        context.refused(pm_score(context, four, PM_F32, 7, 1, 4), "scoring is 7");
    }
}

// The caller's rounding mode and treatment of subnormals change nothing, and are there again afterwards.
void test_arithmetic_mode() {
    for (const std::string &isa : instruction_sets()) {
        Context one("threads=1 isa=" + isa), two("threads=2 isa=" + isa);
        Random random(kSeed);
        Weight w(PM_W_F8_E4M3_B128, 257, 300, random, 1e-3f);
        std::vector<float> x = random.normals(300 * 3, 1e-30f);
        std::vector<float> expected = gemm(one, x, w, 3, "arithmetic mode");
        std::fesetround(FE_UPWARD);
#if defined(__x86_64__)
        constexpr unsigned kSubnormalsAreZero = 0x8040;
        unsigned before = _mm_getcsr();
        _mm_setcsr(before | kSubnormalsAreZero);
#endif
        std::vector<float> a = gemm(one, x, w, 3, "arithmetic mode"), b = gemm(two, x, w, 3, "arithmetic mode");
#if defined(__x86_64__)
        bool kept = (_mm_getcsr() & kSubnormalsAreZero) == kSubnormalsAreZero;
        _mm_setcsr(before);
        expect(kept, "isa=%s: the caller's treatment of subnormals was changed", isa.c_str());
#endif
        expect(std::fegetround() == FE_UPWARD, "isa=%s: the caller's rounding mode was changed", isa.c_str());
        std::fesetround(FE_TONEAREST);
        expect_same_bits(expected, a, "arithmetic mode, one thread");
        expect_same_bits(expected, b, "arithmetic mode, two threads");
    }
}

}  // namespace

int main(int argc, char **argv) {
    return run(argc, argv,
               {{"gemm", test_gemm},
                {"not_finite", test_not_finite},
                {"quantised_rows", test_quantised_rows},
                {"largest_codes", test_largest_codes},
                {"e4m3_codes", test_e4m3_codes},
                {"e4m3_exact_path", test_e4m3_exact_path},
                {"grouped_gemm", test_grouped_gemm},
                {"grouped_swiglu", test_grouped_swiglu},
                {"grouped_combine", test_grouped_combine},
                {"grouped_in_parts", test_grouped_in_parts},
                {"rms_norm", test_rms_norm},
                {"mla_query", test_mla_query},
                {"mla_output", test_mla_output},
                {"latent_append", test_latent_append},
                {"mla_attention", test_mla_attention},
                {"mla_attention_not_finite", test_mla_attention_not_finite},
                {"mla_expanded", test_mla_expanded},
                {"mla_expanded_not_finite", test_mla_expanded_not_finite},
                {"score", test_score},
                {"route", test_route},
                {"gather", test_gather},
                {"combine", test_combine},
                {"swiglu", test_swiglu},
                {"exp", test_exp},
                {"add", test_add},
                {"embed", test_embed},
                {"argmax", test_argmax},
                {"arithmetic_mode", test_arithmetic_mode}});
}
