// combine: y[token[n]] += weight[n] * x[n], n ascending.
//
// Bound by memory: x passes once, y once for each of its rows' terms. Two n may name the same row, so a piece is a
// block of columns, and every piece walks all n in order.
#include "vector.hpp"

namespace panamoe::PANAMOE_ISA {

void combine(const Combine &a, int64_t from, int64_t to) {
    for (int64_t n = 0; n < a.N; n++) {
        float *y = a.y + (a.token == nullptr ? n : a.token[n]) * a.y_stride;
        const float *x = a.x + n * a.x_stride;
        Vec weight = broadcast(a.weight == nullptr ? 1.0f : a.weight[n]);
        int64_t d = from;
        for (; d + LANES <= to; d += LANES) store(y + d, fma(weight, load(x + d), load(y + d)));
        if (d < to) store(y + d, fma(weight, load(x + d, to - d), load(y + d, to - d)), to - d);
    }
}

}  // namespace panamoe::PANAMOE_ISA
