// Rope, for mla_query and latent_append.
#pragma once

#include "device.cuh"

namespace panamoe::cuda {

// Z cosines and sines for each of S positions.
struct Rope {
    const float *cos, *sin;
    int64_t Z, S;
};

// Pair z of a row: neighbours turn by the angle of the position, which is one of [0, S).
template <class Y>
__device__ void rotate_pair(Y *y, const float *x, const Rope &rope, int64_t position, int64_t z) {
    float cos = rope.cos[position * rope.Z + z], sin = rope.sin[position * rope.Z + z];
    float a = x[2 * z], b = x[2 * z + 1];
    y[2 * z] = a * cos - b * sin;
    y[2 * z + 1] = a * sin + b * cos;
}

}  // namespace panamoe::cuda
