// score and route: from what the gate says to who computes what. Tiny beside any product, so plain C++ on one thread.
#pragma once

#include <cstdint>

namespace panamoe {

// Group-limited top-k for one token; see pm_route.
struct Route {
    const float *bias;  // may be null
    int64_t E, K, G, kept, best;
    bool normalize;
    float factor;
};

// y = 1 / (1 + exp(-y)) for n values.
void sigmoid(float *y, int64_t n);

// The softmax of n values, in place.
void softmax(float *y, int64_t n);

// biased: room for E floats; taken: for E + G bytes.
void choose(const Route &route, const float *score, int32_t *expert, float *share, float *biased, unsigned char *taken);

}  // namespace panamoe
