// How a kernel says that it met a bad index: see native/src/faults.hpp.
#pragma once

#include "device.cuh"
#include "faults.hpp"

namespace panamoe::cuda {

// Notes the first of all bad indices; the kernel goes on without the row.
__device__ inline void refuse(Fault *fault, BadIndex what, int64_t a, int64_t b, int64_t c = 0, int64_t d = 0,
                              int64_t e = 0) {
    if (atomicCAS(&fault->taken, 0u, 1u) != 0) return;
    fault->what = what;
    fault->number[0] = a;
    fault->number[1] = b;
    fault->number[2] = c;
    fault->number[3] = d;
    fault->number[4] = e;
}

// Whether index, which stands at place, is one of [0, limit).
__device__ inline bool accept(Fault *fault, BadIndex what, int64_t place, int64_t index, int64_t limit) {
    if (index >= 0 && index < limit) [[likely]]
        return true;
    refuse(fault, what, place, index, limit);
    return false;
}

}  // namespace panamoe::cuda
