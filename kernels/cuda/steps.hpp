// For functions that are others of panamoe.h, one after the other.
#pragma once

#include "cuda_context.hpp"
#include "formats.cuh"

namespace panamoe::cuda {

// A failure of a step is one of the whole.
inline void step(pm_context *ctx, int32_t status) { require(status == PM_OK, "%s", pm_error(ctx)); }

inline float *floats_between_steps(pm_context &ctx, const char *operation, int64_t count) {
    return reinterpret_cast<float *>(between_steps(ctx, operation, static_cast<size_t>(count) * sizeof(float)));
}

// token_N, aligned to its elements, or where it is NULL, a row of x or y for each n.
inline void require_tokens(const char *operation, const int32_t *token_N, int32_t N, int32_t T) {
    if (token_N != nullptr)
        require_arrays(operation, {{"token_N", token_N}});
    else
        require(N == T, "%s: token_N is NULL, N is %d, T is %d", operation, N, T);
}

}  // namespace panamoe::cuda
