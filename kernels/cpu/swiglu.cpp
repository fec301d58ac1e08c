// swiglu: y = gate / (1 + exp(-gate)) * up.
//
// Bound by memory for large N * F: three floats for each element. A piece is a range of elements.
#include "vector.hpp"

namespace panamoe::PANAMOE_ISA {
namespace {

PANAMOE_INLINE Vec swiglu(Vec gate, Vec up) { return gate / (1.0f + exp(-gate)) * up; }

}  // namespace

void swiglu(float *y, const float *gate, const float *up, int64_t n) {
    int64_t i = 0;
    for (; i + LANES <= n; i += LANES) store(y + i, swiglu(load(gate + i), load(up + i)));
    if (i < n) store(y + i, swiglu(load(gate + i, n - i), load(up + i, n - i)), n - i);
}

}  // namespace panamoe::PANAMOE_ISA
