// How weights are stored. A new format is a struct here and a case in with_format; gemm, grouped_gemm, mla_query and
// mla_output then know it.
//
// A format's Reader turns LANES stored weights into a Vec; a rare one need not be fast. kBlock is the edge of the
// square block that shares a scale, or 0. Weights are read where the checkpoint is mapped, at any address.
#pragma once

#include "panamoe.h"
#include "vector.hpp"

namespace panamoe::PANAMOE_ISA {
namespace {

struct F32 {
    static constexpr int32_t kBytes = 4, kBlock = 0;
    static constexpr bool kRare = false;
    PANAMOE_INLINE Vec read(const Byte *w) const { return load(w); }
};

struct Bf16 {
    static constexpr int32_t kBytes = 2, kBlock = 0;
    static constexpr bool kRare = false;
    PANAMOE_INLINE Vec read(const Byte *w) const { return widen_bf16(w); }
};

// w = e4m3(code) * scale, rounded once to fp32.
//
// The bits of a code, put where a float has its exponent and mantissa, are the float e4m3(code) * 2^-120, subnormal
// codes included (they become subnormal floats). Multiplying by scale * 2^120 rounds the same real number as the
// definition does, once. That fails for the two NaN codes, and for scales that leave the range: such blocks take Exact.
struct F8E4M3Block128 {
    static constexpr int32_t kBytes = 1, kBlock = 128;
    static constexpr float k2to120 = 0x1p120f;

    struct Plain {
        static constexpr int32_t kBytes = 1;
        static constexpr bool kRare = false;
        Vec scale;  // times 2^120
        PANAMOE_INLINE Vec read(const Byte *w) const { return bits<Vec>(widen_codes(w) & 0x87f00000u) * scale; }
    };

    struct Exact {
        static constexpr int32_t kBytes = 1;
        static constexpr bool kRare = true;
        Vec scale;
        PANAMOE_INLINE Vec read(const Byte *w) const {
            BitVec code = widen_codes(w) & 0x87f00000u;
            Vec value = bits<Vec>(code) * k2to120;
            Vec nan = broadcast(__builtin_nanf(""));
            return ((code & 0x7ff00000u) == 0x07f00000u ? nan : value) * scale;
        }
    };

    static bool plain(float scale) { return __builtin_fabsf(scale) < 0x1p7f; }  // false for NaN

    // Whether a NaN code is among the n codes of a block in each of the rows.
    template <int ROWS>
    static bool any_nan(const Byte *w, int64_t stride, int64_t n) {
        typedef uint8_t Codes __attribute__((vector_size(LANES * 4)));
        Codes most{};
#pragma GCC unroll 8
        for (int row = 0; row < ROWS; row++) {
            const Byte *codes = w + row * stride;
            Byte padded[kBlock];
            if (n < kBlock) [[unlikely]] {
                __builtin_memset(padded, 0, sizeof padded);
                __builtin_memcpy(padded, codes, static_cast<size_t>(n));
                codes = padded;
            }
            for (size_t i = 0; i < kBlock; i += sizeof(Codes)) {
                Codes c;
                __builtin_memcpy(&c, codes + i, sizeof c);
                c &= 0x7f;
                most = c > most ? c : most;
            }
        }
        return any_of(most == 0x7f);
    }
};

// A vector of n < LANES weights; the other lanes are 0.
template <class Reader>
PANAMOE_INLINE Vec read_tail(const Reader &reader, const Byte *w, int64_t n) {
    Byte padded[LANES * Reader::kBytes] = {};
    __builtin_memcpy(padded, w, static_cast<size_t>(n) * Reader::kBytes);
    Vec v = reader.read(padded);
    return load(&v, n);  // not what reader makes of the padding: 0 times an infinite scale would be NaN
}

template <class Format>
const Byte *weights(const Matrix &w, int64_t f, int64_t d) {
    return w.data + (f * w.D + d) * Format::kBytes;
}

// How many of the rows f, f + 1, ... share their scales with row f, at most most.
template <class Format>
int64_t rows_alike(int64_t f, int64_t most) {
    if constexpr (Format::kBlock == 0)
        return most;
    else {
        int64_t left = Format::kBlock - f % Format::kBlock;
        return left < most ? left : most;
    }
}

// Cuts columns [from, to) of rows [f, f + ROWS), which share their scales, where the scale changes, and calls
// body(reader, d, n) for columns [d, d + n).
template <class Format, int ROWS, class Body>
PANAMOE_INLINE void each_block(const Matrix &w, int64_t f, int64_t from, int64_t to, Body body) {
    if constexpr (Format::kBlock == 0)
        body(Format{}, from, to - from);
    else {
        constexpr int64_t block = Format::kBlock;
        const Byte *scales = w.scale + f / block * ((w.D + block - 1) / block) * 4;
        for (int64_t d = from; d < to;) {
            int64_t end = (d / block + 1) * block;
            int64_t n = (end < to ? end : to) - d;
            float scale;
            __builtin_memcpy(&scale, scales + d / block * 4, 4);
            if (Format::plain(scale) &&
                !Format::template any_nan<ROWS>(weights<Format>(w, f, d), w.D * Format::kBytes, n))
                body(typename Format::Plain{broadcast(scale * Format::k2to120)}, d, n);
            else
                body(typename Format::Exact{broadcast(scale)}, d, n);
            d += n;
        }
    }
}

// Columns [from, to) of row f in fp32, padded with zeros to a multiple of LANES.
template <class Format>
void decode(float *to_D, const Matrix &w, int64_t f, int64_t from, int64_t to) {
    each_block<Format, 1>(w, f, from, to, [&](auto reader, int64_t d, int64_t n) {
        const Byte *data = weights<Format>(w, f, d);
        float *out = to_D + (d - from);
        int64_t i = 0;
        for (; i + LANES <= n; i += LANES) store(out + i, reader.read(data + i * Format::kBytes));
        if (i < n) store(out + i, read_tail(reader, data + i * Format::kBytes, n - i));
    });
}

// The one place where a format id becomes a type. functions.cpp refuses ids for which this calls nothing.
template <class Body>
PANAMOE_INLINE void with_format(int32_t id, Body body) {
    switch (id) {
        case PM_W_F32: return body(F32{});
        case PM_W_BF16: return body(Bf16{});
        case PM_W_F8_E4M3_B128: return body(F8E4M3Block128{});
        default: return;
    }
}

}  // namespace
}  // namespace panamoe::PANAMOE_ISA
