// The softmax of attention, taken chunk by chunk over the positions.
#pragma once

#include "vector.hpp"

namespace panamoe::PANAMOE_ISA {
namespace {

constexpr float kNone = -__builtin_inff();

// Of the chunks so far: their largest score, and the sum of all shares of it. What was added up with the shares of
// earlier chunks has to be multiplied by shrink.
struct RunningSoftmax {
    float most, total, shrink;

    void start() {
        most = kNone;
        total = 0;
    }

    // Turns the n scores of the next chunk into shares. score has room for a multiple of LANES; what is behind n
    // becomes 0.
    void add(float *score, int64_t n) {
        for (int64_t i = n; i % LANES != 0; i++) score[i] = kNone;
        float before = most;
        Vec largest = broadcast(kNone);
        for (int64_t i = 0; i < n; i += LANES) {
            Vec scores = load(score + i);
            largest = scores > largest ? scores : largest;  // false for NaN
        }
        for (int64_t i = 0; i < LANES; i++)
            if (largest[i] > most) most = largest[i];
        // Where every score so far is -inf, -inf - -inf would be NaN: their shares are 0.
        float base = most == kNone ? 0.0f : most;
        Vec sums{};
        for (int64_t i = 0; i < n; i += LANES) {
            Vec shares = exp(load(score + i) - base);
            store(score + i, shares);
            sums += shares;
        }
        shrink = exp(broadcast(before - base))[0];
        total = total * shrink + sum(sums);
    }
};

}  // namespace
}  // namespace panamoe::PANAMOE_ISA
