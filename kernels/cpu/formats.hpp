// How weights are stored. A new format is a struct here and a case in with_format; gemm, grouped_gemm, mla_query and
// mla_output then know it.
//
// A format's Reader turns LANES stored weights into a Vec; a rare one need not be fast. kBlock columns of kBlockRows
// rows share a scale; 0: there are no scales. bytes(n) is what n weights of a row take. Weights are read where the
// checkpoint is mapped, at any address.
#pragma once

#include "panamoe.h"
#include "vector.hpp"

namespace panamoe::PANAMOE_ISA {
namespace {

struct F32 {
    static constexpr int64_t kBlock = 0;
    static constexpr int64_t bytes(int64_t n) { return 4 * n; }
    static constexpr bool kRare = false;
    PANAMOE_INLINE Vec read(const Byte *w) const { return load(w); }
};

struct Bf16 {
    static constexpr int64_t kBlock = 0;
    static constexpr int64_t bytes(int64_t n) { return 2 * n; }
    static constexpr bool kRare = false;
    PANAMOE_INLINE Vec read(const Byte *w) const { return widen_bf16(w); }
};

// w = e4m3(code) * scale, rounded once to fp32.
//
// The bits of a code, put where a float has its exponent and mantissa, are the float e4m3(code) * 2^-120, subnormal
// codes included (they become subnormal floats). Multiplying by scale * 2^120 rounds the same real number as the
// definition does, once. That fails for the two NaN codes, and for scales that leave the range: such blocks take Exact.
struct F8E4M3Block128 {
    static constexpr int64_t kBlock = 128, kBlockRows = 128, kScaleBytes = 4;
    static constexpr int64_t bytes(int64_t n) { return n; }
    static float scale(const Byte *from) {
        float value;
        __builtin_memcpy(&value, from, sizeof value);
        return value;
    }
    static constexpr float k2to120 = 0x1p120f;

    struct Plain {
        static constexpr int64_t bytes(int64_t n) { return n; }
        static constexpr bool kRare = false;
        Vec scale;  // times 2^120
        PANAMOE_INLINE Vec read(const Byte *w) const { return bits<Vec>(widen_codes(w) & 0x87f00000u) * scale; }
    };

    struct Exact {
        static constexpr int64_t bytes(int64_t n) { return n; }
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

    // Calls body(reader) for n columns of ROWS rows that share this scale.
    template <int ROWS, class Body>
    PANAMOE_INLINE static void with_reader(float scale, const Byte *w, int64_t stride, int64_t n, Body body) {
        if (plain(scale) && !any_nan<ROWS>(w, stride, n))
            body(Plain{broadcast(scale * k2to120)});
        else
            body(Exact{broadcast(scale)});
    }
};

// How Format is read for a product with one row: the same numbers, by other instructions.
template <class Format>
struct OneRow {
    using Type = Format;
};

#if defined(__AVX512VBMI__)
// By a table, without a look at the codes before: NaN is an entry like others. Beside more rows there are not enough
// registers for it.
struct F8E4M3Table : F8E4M3Block128 {
    // The upper half of a float is enough for e4m3.
    static constexpr HalfTable halves() {
        HalfTable table{};
        for (int code = 0; code < 128; code++) {
            int exponent = code >> 3, mantissa = code & 7;
            if (exponent == 0 && mantissa > 0) {
                for (exponent = 1; mantissa < 8; mantissa *= 2) exponent--;
                mantissa -= 8;
            }
            int half = code == 0 ? 0 : code == 0x7f ? 0x7fc0 : (exponent + 120) << 7 | mantissa << 4;
            table.low[code] = static_cast<Byte>(half);
            table.high[code] = static_cast<Byte>(half >> 8);
        }
        return table;
    }

    struct Reader {
        static constexpr int64_t bytes(int64_t n) { return n; }
        static constexpr bool kRare = false;
        static constexpr int kVectors = 4;
        Vec scale;
        Lookup lookup;
        PANAMOE_INLINE Vec read(const Byte *w) const { return Exact{scale}.read(w); }
        PANAMOE_INLINE void read(Vec (&to)[kVectors], const Byte *w) const {
            lookup.find(to, w);
#pragma GCC unroll 4
            for (Vec &each : to) each *= scale;
        }
    };

    template <int ROWS, class Body>
    PANAMOE_INLINE static void with_reader(float scale, const Byte *, int64_t, int64_t, Body body) {
        static constexpr HalfTable kHalves = halves();
        body(Reader{broadcast(scale), Lookup(kHalves)});
    }
};

template <>
struct OneRow<F8E4M3Block128> {
    using Type = F8E4M3Table;
};
#endif

// A group's weights in fp32.
typedef Vec GroupVecs[kGroup / LANES];

// The integer formats: w = code * scale, rounded once to fp32. gemm_integer.cpp multiplies the codes themselves; what
// stands here is for the functions that decode.
struct Int8 {
    static constexpr int64_t kBlock = kGroup, kBlockRows = 1, kScaleBytes = kGroupScaleBytes;
    static constexpr int64_t bytes(int64_t n) { return n; }
    static float scale(const Byte *from) {
        uint16_t high;
        __builtin_memcpy(&high, from, sizeof high);
        uint32_t bits = uint32_t{high} << 16;
        float value;
        __builtin_memcpy(&value, &bits, sizeof value);
        return value;
    }
    // gemm_integer stores codes so that they are the unsigned operand of a product, where it is an instruction.
    static constexpr int32_t kOffset = kUnsignedBytes ? 128 : 0;

    struct Reader {
        static constexpr int64_t bytes(int64_t n) { return n; }
        static constexpr bool kRare = true;
        Vec scale;
        PANAMOE_INLINE Vec read(const Byte *w) const { return __builtin_convertvector(widen_bytes(w), Vec) * scale; }
        PANAMOE_INLINE void read_group(GroupVecs &to, const Byte *w) const {
#pragma GCC unroll 8
            for (int64_t i = 0; i < kGroup / LANES; i++) to[i] = read(w + i * LANES);
        }
    };

    template <int ROWS, class Body>
    PANAMOE_INLINE static void with_reader(float scale, const Byte *, int64_t, int64_t, Body body) {
        static_assert(ROWS == 1);
        body(Reader{broadcast(scale)});
    }
};

struct Int4 {
    static constexpr int64_t kBlock = kGroup, kBlockRows = 1, kScaleBytes = kGroupScaleBytes;
    static constexpr int64_t bytes(int64_t n) { return (n + 1) / 2; }
    static float scale(const Byte *from) { return Int8::scale(from); }
    static constexpr int32_t kOffset = 8;  // as they are stored

    struct Reader {
        static constexpr int64_t bytes(int64_t n) { return (n + 1) / 2; }
        static constexpr bool kRare = true;
        Vec scale;
#if defined(__AVX512F__)
        // A weight is one of sixteen.
        Vec table = Vec{-8, -7, -6, -5, -4, -3, -2, -1, 0, 1, 2, 3, 4, 5, 6, 7} * scale;
        PANAMOE_INLINE Vec read(const Byte *w) const { return look_up(table, w); }
        PANAMOE_INLINE void read_group(GroupVecs &to, const Byte *w) const {
#pragma GCC unroll 8
            for (int64_t i = 0; i < kGroup / LANES; i++) to[i] = read(w + i * LANES / 2);
        }
#else
        PANAMOE_INLINE Vec read(const Byte *w) const {
            typedef uint64_t Words __attribute__((vector_size(16)));
            uint64_t bytes = 0;
            __builtin_memcpy(&bytes, w, LANES / 2);
            Codes codes[2];
            unpack(codes, bits<Codes>(Words{bytes}));
            return Int8::Reader{scale}.read(reinterpret_cast<const Byte *>(codes));
        }
        PANAMOE_INLINE void read_group(GroupVecs &to, const Byte *w) const {
            Codes pairs, codes[2];
            __builtin_memcpy(&pairs, w, sizeof pairs);
            unpack(codes, pairs);
            Int8::Reader{scale}.read_group(to, reinterpret_cast<const Byte *>(codes));
        }

      private:
        typedef Byte Codes __attribute__((vector_size(16)));
        PANAMOE_INLINE static void unpack(Codes (&to)[2], Codes pairs) {
            Codes even = pairs & 15, odd = pairs >> 4;
            to[0] =
                __builtin_shufflevector(even, odd, 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23) - kOffset;
            to[1] = __builtin_shufflevector(even, odd, 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31) -
                    kOffset;
        }
#endif
    };

    template <int ROWS, class Body>
    PANAMOE_INLINE static void with_reader(float scale, const Byte *, int64_t, int64_t, Body body) {
        static_assert(ROWS == 1);
        body(Reader{broadcast(scale)});
    }
};

template <class Format>
constexpr bool kInteger = requires {
    Format::kOffset;
};

// How many vectors Reader reads at once.
template <class Reader>
constexpr int kVectors = 1;
template <class Reader>
requires(Reader::kVectors != 1) constexpr int kVectors<Reader> = Reader::kVectors;

// A vector of n < LANES weights; the other lanes are 0.
template <class Reader>
PANAMOE_INLINE Vec read_tail(const Reader &reader, const Byte *w, int64_t n) {
    Byte padded[Reader::bytes(LANES)] = {};
    __builtin_memcpy(padded, w, static_cast<size_t>(Reader::bytes(n)));
    Vec v = reader.read(padded);
    return load(&v, n);  // not what reader makes of the padding: 0 times an infinite scale would be NaN
}

template <class Format>
const Byte *weights(const Matrix &w, int64_t f, int64_t d) {
    return w.data + f * Format::bytes(w.D) + Format::bytes(d);
}

// How many of the rows f, f + 1, ... share their scales with row f, at most most.
template <class Format>
int64_t rows_alike(int64_t f, int64_t most) {
    if constexpr (Format::kBlock == 0)
        return most;
    else {
        int64_t left = Format::kBlockRows - f % Format::kBlockRows;
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
        const Byte *scales = w.scale + f / Format::kBlockRows * ((w.D + block - 1) / block) * Format::kScaleBytes;
        for (int64_t d = from; d < to;) {
            int64_t end = (d / block + 1) * block;
            int64_t n = (end < to ? end : to) - d;
            Format::template with_reader<ROWS>(
                Format::scale(scales + d / block * Format::kScaleBytes), weights<Format>(w, f, d), Format::bytes(w.D),
                n, [&](auto reader) __attribute__((always_inline)) { body(reader, d, n); });
            d += n;
        }
    }
}

// Asks for columns [from, to) of row f; there need be no such row.
template <class Format>
PANAMOE_INLINE void ask_columns(const Matrix &w, int64_t f, int64_t from, int64_t to) {
    const Byte *at = weights<Format>(w, f, from), *end = weights<Format>(w, f, to);
    for (; at < end; at += 64) prefetch<Cache::kSecond>(at);
}

// Columns [from, to) of row f in fp32, padded with zeros to a multiple of LANES; from is a multiple of every block, or
// the rest begins there that fills no vector.
template <class Format>
void decode(float *to_D, const Matrix &w, int64_t f, int64_t from, int64_t to) {
    int64_t begin = from;
    if constexpr (kInteger<Format>) {
        const Byte *data = weights<Format>(w, f, from);
        const Byte *scales = w.scale + (f * QuantizedRow::groups(w.D) + from / kGroup) * kGroupScaleBytes;
        for (; from + kGroup <= to; from += kGroup, data += Format::bytes(kGroup), scales += kGroupScaleBytes) {
            GroupVecs values;
            typename Format::Reader{broadcast(Format::scale(scales))}.read_group(values, data);
#pragma GCC unroll 8
            for (int64_t i = 0; i < kGroup / LANES; i++) store(to_D + (from - begin) + i * LANES, values[i]);
        }
    }
    each_block<Format, 1>(w, f, from, to, [&](auto reader, int64_t d, int64_t n) {
        const Byte *data = weights<Format>(w, f, d);
        float *out = to_D + (d - begin);
        int64_t i = 0;
        for (; i + LANES <= n; i += LANES) store(out + i, reader.read(data + Format::bytes(i)));
        if (i < n) store(out + i, read_tail(reader, data + Format::bytes(i), n - i));
    });
}

// The one place where a format id becomes a type. arguments.hpp refuses ids for which this calls nothing.
template <class Body>
PANAMOE_INLINE void with_format(int32_t id, Body body) {
    switch (id) {
        case PM_W_F32: return body(F32{});
        case PM_W_BF16: return body(Bf16{});
        case PM_W_F8_E4M3_B128: return body(F8E4M3Block128{});
        case PM_W_INT8: return body(Int8{});
        case PM_W_INT4: return body(Int4{});
        default: return;
    }
}

}  // namespace
}  // namespace panamoe::PANAMOE_ISA
