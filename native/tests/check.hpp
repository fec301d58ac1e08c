// The little that our C++ tests need: named tests, expectations with a text, contexts, seeded random numbers.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdarg>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <string>
#include <vector>

#include "panamoe.h"

namespace check {

inline int failures = 0, expectations = 0;

[[gnu::format(printf, 2, 3)]] inline void expect(bool holds, const char *format, ...) {
    expectations++;
    if (holds) return;
    if (++failures > 20) return;  // the first ones tell
    va_list arguments;
    va_start(arguments, format);
    std::fputs("FAILED: ", stdout);
    std::vprintf(format, arguments);
    std::fputs("\n", stdout);
    va_end(arguments);
}

struct Test {
    const char *name;
    void (*run)();
};

// Runs the test named by the one argument, or all of them.
inline int run(int argc, char **argv, const std::vector<Test> &tests) {
    int ran = 0;
    for (const Test &test : tests) {
        if (argc > 1 && std::strcmp(argv[1], test.name) != 0) continue;
        test.run();
        ran++;
    }
    if (ran == 0) std::printf("no test %s\n", argc > 1 ? argv[1] : "");
    std::printf("%d tests, %d expectations, %d failed\n", ran, expectations, failures);
    return failures == 0 && ran > 0 && expectations > 0 ? 0 : 1;
}

class Context {
  public:
    explicit Context(const std::string &options) : status(pm_open(&ctx, options.c_str())) {}
    ~Context() { pm_close(ctx); }
    Context(const Context &) = delete;
    Context &operator=(const Context &) = delete;

    operator pm_context *() const { return ctx; }
    const char *error() const { return pm_error(ctx); }

    // A call that must succeed.
    void ok(int32_t result, const std::string &what) const {
        expect(result == PM_OK, "%s on %s: %s", what.c_str(), pm_describe(ctx), pm_error(ctx));
    }

    // A call that must fail with a text that contains part.
    void refused(int32_t result, const char *part) const {
        expect(result == PM_FAILED, "accepted; should be refused with \"%s\"", part);
        expect(std::strstr(pm_error(ctx), part) != nullptr, "error is \"%s\", should contain \"%s\"", pm_error(ctx),
               part);
    }

    pm_context *ctx = nullptr;
    int32_t status;
};

// An array in the memory of a context.
template <class T>
class Device {
  public:
    Device(const Context &context, const std::vector<T> &host) : context_(context), n_(host.size()) {
        context.ok(pm_allocate(context, &data_, bytes()), "allocate");
        context.ok(pm_copy(context, data_, host.data(), bytes()), "copy to the device");
    }
    ~Device() { pm_free(context_, data_); }
    Device(const Device &) = delete;
    Device &operator=(const Device &) = delete;

    operator T *() const { return static_cast<T *>(data_); }
    int64_t bytes() const { return static_cast<int64_t>(n_ * sizeof(T)); }

    std::vector<T> host() const {
        std::vector<T> host(n_);
        context_.ok(pm_copy(context_, host.data(), data_, bytes()), "copy to the host");
        return host;
    }

  private:
    const Context &context_;
    size_t n_;
    void *data_ = nullptr;
};

// Every instruction set that this machine can run, the tests' own included.
inline std::vector<std::string> instruction_sets() {
    std::vector<std::string> result;
    for (const char *isa : {"generic", "avx2", "avx512", "avx512vnni", "lanes16"}) {
        Context context(std::string("isa=") + isa);
        if (context.status == PM_OK) result.push_back(isa);
    }
    return result;
}

class Random {
  public:
    explicit Random(uint64_t seed) : state_(seed * 0x9e3779b97f4a7c15u + 1) {}

    uint32_t bits() {  // splitmix64
        uint64_t z = state_ += 0x9e3779b97f4a7c15u;
        z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
        z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
        return static_cast<uint32_t>((z ^ (z >> 31)) >> 32);
    }
    int32_t below(int32_t n) { return static_cast<int32_t>(bits() % static_cast<uint32_t>(n)); }
    double uniform() { return bits() * 0x1p-32; }
    // Nearly normal: twelve uniforms.
    float normal() {
        double sum = -6;
        for (int i = 0; i < 12; i++) sum += uniform();
        return static_cast<float>(sum);
    }
    std::vector<float> normals(int64_t n, float scale = 1) {
        std::vector<float> x(static_cast<size_t>(n));
        for (float &each : x) each = normal() * scale;
        return x;
    }

  private:
    uint64_t state_;
};

// The definition, digit by digit.
inline float e4m3(uint8_t code) {
    if ((code & 0x7f) == 0x7f) return std::nanf("");
    int exponent = (code >> 3) & 15, mantissa = code & 7;
    double value = exponent == 0 ? std::ldexp(mantissa, -9) : std::ldexp(8 + mantissa, exponent - 10);
    return static_cast<float>(code & 0x80 ? -value : value);
}

// A weight matrix as a checkpoint stores it, and what it means. Data and scales lie at odd addresses.
struct Weight {
    int32_t format;
    int64_t F, D;
    std::vector<uint8_t> stored, scales;
    std::vector<float> value_FD;

    Weight(int32_t format, int64_t F, int64_t D, Random &random, float size = 1)
        : format(format), F(F), D(D), value_FD(static_cast<size_t>(F * D)) {
        stored.resize(static_cast<size_t>(F * row_bytes(format, D) + 1));
        int64_t scale_D = (D + 127) / 128;
        if (integer()) {
            scales.resize(static_cast<size_t>(F * groups() * 2 + 1));
            for (int64_t i = 0; i < F * groups(); i++)
                set_scale(i, (random.below(8) == 0 ? -1.0f : 1.0f) * size *
                                 static_cast<float>(0.001 + random.uniform() * 0.01));
            // Codes that no quantiser makes are numbers like others. In the last half of a row's last byte, any is
            // right.
            for (size_t i = 1; i < stored.size(); i++) stored[i] = static_cast<uint8_t>(random.bits());
            define();
            return;
        }
        if (format == PM_W_F8_E4M3_B128) {
            scales.resize(static_cast<size_t>((F + 127) / 128 * scale_D * 4 + 1));
            for (int64_t i = 0; i < (F + 127) / 128 * scale_D; i++)
                set_scale(i, (random.below(8) == 0 ? -1.0f : 1.0f) * size *
                                 static_cast<float>(0.001 + random.uniform() * 0.01));
        }
        for (int64_t i = 0; i < F * D; i++) {
            if (format == PM_W_F32) {
                float value = random.normal() * size;
                std::memcpy(&stored[static_cast<size_t>(1 + 4 * i)], &value, 4);
            } else if (format == PM_W_BF16) {
                float value = random.normal() * size;
                uint32_t bits;
                std::memcpy(&bits, &value, 4);
                uint16_t half = static_cast<uint16_t>(bits >> 16);
                std::memcpy(&stored[static_cast<size_t>(1 + 2 * i)], &half, 2);
            } else {
                uint8_t code;
                do code = static_cast<uint8_t>(random.bits());
                while ((code & 0x7f) == 0x7f);
                stored[static_cast<size_t>(1 + i)] = code;
            }
        }
        define();
    }

    static int64_t row_bytes(int32_t format, int64_t D) {
        return format == PM_W_F32 ? 4 * D : format == PM_W_BF16 ? 2 * D : format == PM_W_INT4 ? (D + 1) / 2 : D;
    }

    bool integer() const { return format == PM_W_INT8 || format == PM_W_INT4; }
    int64_t groups() const { return (D + 31) / 32; }

    // Of an integer format.
    int code(int64_t f, int64_t d) const {
        if (format == PM_W_INT8) return static_cast<int8_t>(stored[static_cast<size_t>(1 + f * D + d)]);
        int both = stored[static_cast<size_t>(1 + f * row_bytes(format, D) + d / 2)];
        return (d % 2 == 0 ? both & 15 : both >> 4) - 8;
    }

    float group_scale(int64_t f, int64_t group) const {
        uint16_t half;
        std::memcpy(&half, &scales[static_cast<size_t>(1 + 2 * (f * groups() + group))], 2);
        uint32_t bits = uint32_t{half} << 16;
        float scale;
        std::memcpy(&scale, &bits, 4);
        return scale;
    }

    int64_t scale_bytes() const { return integer() ? 2 : 4; }

    // Of an integer format, the bfloat16 towards zero.
    void set_scale(int64_t i, float scale) {
        uint32_t bits;
        std::memcpy(&bits, &scale, 4);
        if (integer()) bits >>= 16;
        std::memcpy(&scales[static_cast<size_t>(1 + scale_bytes() * i)], &bits, static_cast<size_t>(scale_bytes()));
    }

    // value_FD from what is stored: by the definition in panamoe.h.
    void define() {
        int64_t scale_D = (D + 127) / 128;
        for (int64_t i = 0; i < F * D; i++) {
            float &value = value_FD[static_cast<size_t>(i)];
            if (format == PM_W_F32) {
                std::memcpy(&value, &stored[static_cast<size_t>(1 + 4 * i)], 4);
            } else if (format == PM_W_BF16) {
                uint16_t half;
                std::memcpy(&half, &stored[static_cast<size_t>(1 + 2 * i)], 2);
                uint32_t bits = uint32_t{half} << 16;
                std::memcpy(&value, &bits, 4);
            } else if (integer()) {
                value = static_cast<float>(code(i / D, i % D)) * group_scale(i / D, i % D / 32);
            } else {
                float scale;
                std::memcpy(&scale, &scales[static_cast<size_t>(1 + 4 * (i / D / 128 * scale_D + i % D / 128))], 4);
                value = e4m3(stored[static_cast<size_t>(1 + i)]) * scale;
            }
        }
    }

    const void *data() const { return stored.data() + 1; }
    const void *scale() const { return scales.empty() ? nullptr : scales.data() + 1; }
    double at(int64_t f, int64_t d) const { return value_FD[static_cast<size_t>(f * D + d)]; }
};

// T rows of x times a weight of an integer format, by the definition in panamoe.h.
inline std::vector<float> integer_product(const std::vector<float> &x_TD, const Weight &w, int64_t T) {
    std::vector<float> y_TF;
    for (int64_t t = 0; t < T; t++) {
        std::vector<int> codes(static_cast<size_t>(w.D));
        std::vector<float> scales;
        for (int64_t from = 0; from < w.D; from += 32) {
            const float *x = &x_TD[static_cast<size_t>(t * w.D + from)];
            int64_t n = std::min<int64_t>(32, w.D - from);
            float amax = 0;
            for (int64_t i = 0; i < n; i++)
                amax = std::isnan(x[i]) ? x[i] : std::fabs(x[i]) > amax ? std::fabs(x[i]) : amax;
            float scale = std::isfinite(amax) ? amax / 127.0f : std::nanf("");
            for (int64_t i = 0; i < n; i++)
                codes[static_cast<size_t>(from + i)] =
                    scale > 0 ? static_cast<int>(std::clamp(std::nearbyint(x[i] / scale), -127.0f, 127.0f)) : 0;
            scales.push_back(scale);
        }
        for (int64_t f = 0; f < w.F; f++) {
            float y = 0;
            for (int64_t j = 0; j < w.groups(); j++) {
                int32_t sum = 0;
                for (int64_t d = 32 * j; d < std::min(w.D, 32 * j + 32); d++)
                    sum += codes[static_cast<size_t>(d)] * w.code(f, d);
                y = std::fma(static_cast<float>(sum), scales[static_cast<size_t>(j)] * w.group_scale(f, j), y);
            }
            y_TF.push_back(y);
        }
    }
    return y_TF;
}

// fp32 in and out: 1e-5 of each row's root mean square, growing with the root of the terms beyond 1024; NaN and
// infinities at the same places.
inline void expect_close(const std::vector<double> &expected, const std::vector<float> &actual, int64_t width,
                         int64_t terms, const std::string &what) {
    double factor = 1e-5 * std::sqrt(static_cast<double>(std::max<int64_t>(terms, 1024)) / 1024);
    for (size_t row = 0; row * static_cast<size_t>(width) < expected.size(); row++) {
        size_t from = row * static_cast<size_t>(width), to = from + static_cast<size_t>(width);
        double squares = 0;
        for (size_t i = from; i < to; i++)
            if (std::isfinite(expected[i])) squares += expected[i] * expected[i];
        double tolerance = factor * std::sqrt(squares / static_cast<double>(width)) + 1e-30;
        for (size_t i = from; i < to; i++) {
            double e = expected[i], a = actual[i];
            bool same = std::isfinite(e) ? std::fabs(e - a) <= tolerance : std::isnan(e) ? std::isnan(a) : e == a;
            expect(same, "%s: row %zu, column %zu: expected %.9g, is %.9g, tolerance %.3g", what.c_str(), row, i - from,
                   e, a, tolerance);
        }
    }
}

inline void expect_same_bits(const std::vector<float> &a, const std::vector<float> &b, const std::string &what) {
    expect(a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size() * sizeof(float)) == 0, "%s: bits differ",
           what.c_str());
}

// Bit for bit; all NaN are one.
inline void expect_exact(const std::vector<float> &expected, const std::vector<float> &actual,
                         const std::string &what) {
    expect(expected.size() == actual.size(), "%s: %zu values", what.c_str(), actual.size());
    for (size_t i = 0; i < std::min(expected.size(), actual.size()); i++)
        expect(std::isnan(expected[i]) ? std::isnan(actual[i]) : std::memcmp(&expected[i], &actual[i], 4) == 0,
               "%s: value %zu is %.9g, should be %.9g", what.c_str(), i, actual[i], expected[i]);
}

inline const char *format_name(int32_t format) {
    const char *const names[] = {"f32", "bf16", "f8_e4m3_b128", "int8", "int4"};
    return names[format];
}

}  // namespace check
