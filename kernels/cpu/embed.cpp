// embed: y[t] = row token[t] of w, in fp32.
//
// Bound by memory: one row of w in, one of y out. A piece is some rows.
#include "formats.hpp"

namespace panamoe::PANAMOE_ISA {

void embed(float *y, const Matrix &w, int64_t f) {
    with_format(w.format, [&](auto format) {
        // Whole vectors go where they belong; the rest, which decode pads, by way of one.
        using Format = decltype(format);
        int64_t whole = w.D / LANES * LANES;
        decode<Format>(y, w, f, 0, whole);
        if (whole == w.D) return;
        Vec rest;
        decode<Format>(reinterpret_cast<float *>(&rest), w, f, whole, w.D);
        store(y + whole, rest, w.D - whole);
    });
}

}  // namespace panamoe::PANAMOE_ISA
