// Root mean square normalisation of one row, for rms_norm and latent_append.
#pragma once

#include "formats.cuh"
#include "work.cuh"

namespace panamoe::cuda {

// y = x / sqrt(mean(x * x) + eps) * w, by all threads of the block: threads_for(D) of them, and kBlockSumBytes. y may
// be x; its elements are whatever a float can be assigned to.
template <class Format, class Y>
__device__ void normalize(Y *y, const float *x, const Byte *w, int64_t D, float eps) {
    float squares = 0;
    for (int64_t d = threadIdx.x; d < D; d += blockDim.x) squares = fmaf(x[d], x[d], squares);
    float inverse = 1.0f / sqrtf(block_sum(squares) / static_cast<float>(D) + eps);
    for (int64_t d = threadIdx.x; d < D; d += blockDim.x)
        y[d] = x[d] * inverse * Format::read(w + d * Format::kBytes, 1);
}

}  // namespace panamoe::cuda
