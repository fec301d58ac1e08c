// How weights are stored. A new format is a struct here and a case in with_format; every kernel then knows it.
//
// A format's read turns one stored weight into fp32, given the scale of its block. Weights and scales lie where the
// checkpoint's bytes were copied to, at any address.
#pragma once

#include "panamoe.h"
#include "work.cuh"

namespace panamoe::cuda {

using Byte = unsigned char;

__device__ inline float load_float(const Byte *data) {
    if (reinterpret_cast<uintptr_t>(data) % 4 == 0) return *reinterpret_cast<const float *>(data);
    return __uint_as_float(data[0] | uint32_t{data[1]} << 8 | uint32_t{data[2]} << 16 | uint32_t{data[3]} << 24);
}

struct F32 {
    static constexpr int32_t kBytes = 4, kBlock = 0;
    __device__ static float read(const Byte *w, float) { return load_float(w); }
};

struct Bf16 {
    static constexpr int32_t kBytes = 2, kBlock = 0;
    __device__ static float read(const Byte *w, float) {
        uint32_t bits = reinterpret_cast<uintptr_t>(w) % 2 == 0 ? *reinterpret_cast<const uint16_t *>(w)
                                                                : w[0] | uint32_t{w[1]} << 8;
        return __uint_as_float(bits << 16);
    }
};

// w = e4m3(code) * scale, rounded once to fp32.
//
// The bits of a code, put where a float has its exponent and mantissa, are the float e4m3(code) * 2^-120, subnormal
// codes included (they become subnormal floats): times 2^120 it is exact.
struct F8E4M3Block128 {
    static constexpr int32_t kBytes = 1, kBlock = 128;
    __device__ static float read(const Byte *w, float scale) {
        uint32_t code = *w, magnitude = code & 0x7fu;
        float value = __uint_as_float((code & 0x80u) << 24 | magnitude << 20) * 0x1p120f;
        return (magnitude == 0x7fu ? __uint_as_float(0x7fc00000u) : value) * scale;
    }
};

// A weight matrix [F, D] as the checkpoint stores it.
struct Matrix {
    const Byte *data;
    const Byte *scale;
    int64_t D;
};

inline Matrix matrix(const void *data, const void *scale, int64_t D) {
    return {static_cast<const Byte *>(data), static_cast<const Byte *>(scale), D};
}

// Columns that share a scale, for all formats: those without scales are walked alike.
constexpr int64_t kScaleColumns = 128;

template <class Format>
__device__ const Byte *weight_row(const Matrix &w, int64_t f) {
    return w.data + f * w.D * Format::kBytes;
}

template <class Format>
__device__ const Byte *scale_row(const Matrix &w, int64_t f) {
    if constexpr (Format::kBlock == 0)
        return nullptr;
    else
        return w.scale + f / Format::kBlock * ceil_div(w.D, Format::kBlock) * 4;
}

// The scale of column d, for Format::read.
template <class Format>
__device__ float load_scale(const Byte *scale_row, int64_t d) {
    static_assert(Format::kBlock == 0 || Format::kBlock == kScaleColumns);
    if constexpr (Format::kBlock == 0)
        return 1;
    else
        return load_float(scale_row + d / Format::kBlock * 4);
}

// The one place where a format id becomes a type. Calls nothing for an id that is none.
template <class Body>
void with_format(int32_t id, Body body) {
    switch (id) {
        case PM_W_F32: return body(F32{});
        case PM_W_BF16: return body(Bf16{});
        case PM_W_F8_E4M3_B128: return body(F8E4M3Block128{});
        default: return;
    }
}

// A vector has one row: the formats with scales are for matrices.
template <class Body>
void with_vector_format(int32_t id, Body body) {
    with_format(id, [&](auto format) {
        if constexpr (decltype(format)::kBlock == 0) body(format);
    });
}

// What a format id means to those who only count: bits of one weight (0: unknown id) and the edge of the block that
// shares a scale (0: no scales).
struct FormatSize {
    int32_t bits, block;
};

inline FormatSize format_size(int32_t id) {
    FormatSize size{0, 0};
    with_format(id, [&](auto format) { size = {8 * decltype(format)::kBytes, decltype(format)::kBlock}; });
    return size;
}

}  // namespace panamoe::cuda
