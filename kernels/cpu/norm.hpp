// Root mean square normalisation of one row, for rms_norm and latent_append.
#pragma once

#include "formats.hpp"

namespace panamoe::PANAMOE_ISA {
namespace {

// y = x / sqrt(mean(x * x) + eps) * w. Four accumulators, each over every fourth vector: the order depends on D alone.
template <class Format>
void normalize(float *y, const float *x, const Matrix &w, float eps) {
    int64_t D = w.D, d = 0;
    Vec acc[4] = {};
    for (; d + 4 * LANES <= D; d += 4 * LANES) {
#pragma GCC unroll 4
        for (int i = 0; i < 4; i++) {
            Vec v = load(x + d + i * LANES);
            acc[i] = fma(v, v, acc[i]);
        }
    }
    for (; d + LANES <= D; d += LANES) {
        Vec v = load(x + d);
        acc[0] = fma(v, v, acc[0]);
    }
    if (d < D) {
        Vec v = load(x + d, D - d);
        acc[1] = fma(v, v, acc[1]);
    }
    float squares = sum((acc[0] + acc[1]) + (acc[2] + acc[3]));
    float inverse = 1.0f / __builtin_sqrtf(squares / static_cast<float>(D) + eps);
    const Byte *weight = w.data;
    for (d = 0; d + LANES <= D; d += LANES)
        store(y + d, load(x + d) * inverse * Format{}.read(weight + Format::bytes(d)));
    if (d < D)
        store(y + d, load(x + d, D - d) * inverse * read_tail(Format{}, weight + Format::bytes(d), D - d), D - d);
}

// A vector has one row: the formats with scales are for matrices, and require_vector_format refuses them.
template <class Body>
PANAMOE_INLINE void with_vector_format(int32_t id, Body body) {
    with_format(id, [&](auto format) {
        if constexpr (decltype(format)::kBlock == 0) body(format);
    });
}

}  // namespace
}  // namespace panamoe::PANAMOE_ISA
