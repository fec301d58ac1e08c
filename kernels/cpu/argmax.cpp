// argmax: the index of the largest element; the lowest wins a tie, NaN never wins.
//
// Bound by memory: the row passes once for its largest value, and again up to the first element that has it. A piece is
// one row.
#include "vector.hpp"

namespace panamoe::PANAMOE_ISA {

int32_t argmax(const float *x, int64_t V) {
    float most = -__builtin_inff();
    Vec lanes = broadcast(most);
    int64_t i = 0;
    for (; i + LANES <= V; i += LANES) {
        Vec v = load(x + i);
        lanes = v > lanes ? v : lanes;  // false for NaN
    }
    for (; i < V; i++)
        if (x[i] > most) most = x[i];
    for (int64_t lane = 0; lane < LANES; lane++)
        if (lanes[lane] > most) most = lanes[lane];
    for (i = 0; i < V; i++)
        if (x[i] == most) return static_cast<int32_t>(i);
    return 0;
}

}  // namespace panamoe::PANAMOE_ISA
