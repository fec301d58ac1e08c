// embed: y[t] = row token[t] of w, in fp32.
//
// Bound by memory: one row of w in, one of y out. A piece is some rows.
#include "norm.hpp"

namespace panamoe::PANAMOE_ISA {

void embed(float *y, const Matrix &w, int64_t f) {
    with_vector_format(w.format, [&](auto format) {
        using Format = decltype(format);
        const Byte *row = weights<Format>(w, f, 0);
        int64_t d = 0;
        for (; d + LANES <= w.D; d += LANES) store(y + d, Format{}.read(row + d * Format::kBytes));
        if (d < w.D) store(y + d, read_tail(Format{}, row + d * Format::kBytes, w.D - d), w.D - d);
    });
}

}  // namespace panamoe::PANAMOE_ISA
