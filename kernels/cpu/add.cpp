// add: y += x.
//
// Bound by memory: three floats for each element. A piece is a range of elements.
#include "vector.hpp"

namespace panamoe::PANAMOE_ISA {

void add(float *y, const float *x, int64_t n) {
    int64_t i = 0;
    for (; i + LANES <= n; i += LANES) store(y + i, load(y + i) + load(x + i));
    for (; i < n; i++) y[i] += x[i];
}

}  // namespace panamoe::PANAMOE_ISA
