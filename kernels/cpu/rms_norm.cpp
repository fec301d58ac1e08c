// rms_norm: y = x / sqrt(mean(x * x) + eps) * w, row by row.
//
// Bound by memory: 2 * T * D floats pass; x is read twice, the second time from the cache. A piece is some rows.
#include "norm.hpp"

namespace panamoe::PANAMOE_ISA {

void rms_norm(const RmsNorm &n, int64_t from, int64_t to) {
    with_vector_format(n.w.format, [&](auto format) {
        for (int64_t t = from; t < to; t++) normalize<decltype(format)>(n.y + t * n.w.D, n.x + t * n.w.D, n.w, n.eps);
    });
}

}  // namespace panamoe::PANAMOE_ISA
