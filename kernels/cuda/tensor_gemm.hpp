// Where gemm and grouped_gemm find the tensor kernel.
#pragma once

#include "cuda_context.hpp"

namespace panamoe::cuda {

// gemm: one expert, offset_E1 is NULL. grouped_gemm: w and scale are tables of E pointers, on the device.
struct ExpertGemm {
    float *y_NF;
    const float *x_ND;
    const void *w, *scale;
    const int32_t *offset_E1;
    int32_t format, N, D, F, E;
};

// Enqueues the product and returns true; false: shape, format, alignment, device or option do not allow it.
bool tensor_gemm(pm_context &ctx, const char *operation, const ExpertGemm &gemm);

}  // namespace panamoe::cuda
