// What both kernels of mla_attention know of the call.
#pragma once

#include "faults.cuh"
#include "work.cuh"

namespace panamoe::cuda {

struct MlaAttention {
    float *o;
    const float *q;
    const void *pages;
    const int32_t *table, *request, *position;
    float scale;
    int64_t T, H, C, R, A, M, B, page_count;
    Fault *fault;
};

// Whether all that row t's indices lead to is there, for all threads of the block. Also a barrier.
__device__ inline bool accept_row(const MlaAttention &a, int64_t t) {
    int64_t request = a.request[t], position = a.position[t];
    bool good = accept(a.fault, BadIndex::attention_request, t, request, a.A) &&
                accept(a.fault, BadIndex::attention_position, t, position, a.M * a.B);
    if (good) {
        for (int64_t slot = threadIdx.x; slot <= position / a.B; slot += blockDim.x) {
            int64_t page = a.table[request * a.M + slot];
            if (page >= 0 && page < a.page_count) continue;
            refuse(a.fault, BadIndex::attention_page, request, slot, page, a.page_count);
            good = false;
        }
    }
    return __syncthreads_or(!good) == 0;
}

}  // namespace panamoe::cuda
