// latent_append: writes norm(kv[0..C)) and rope(kv[C..C+R)) of each row to its place in the paged cache.
//
// Bound by memory and tiny: T * (C + R) values in and out. A block owns one row; no two name the same place.
#include "cache.cuh"
#include "cuda_context.hpp"
#include "faults.cuh"
#include "normalize.cuh"
#include "rotate.cuh"

namespace panamoe::cuda {
namespace {

struct LatentAppend {
    void *pages;
    const float *kv;
    Matrix norm;
    float eps;
    const int32_t *table, *request, *position;
    Rope rope;
    int64_t T, C, R, A, M, B, page_count;
    Fault *fault;
};

// Where row t goes in pages, nullptr if one of its indices is bad.
template <class Cache>
__device__ typename Cache::Value *place(const LatentAppend &a, int64_t t) {
    int64_t request = a.request[t], position = a.position[t];
    if (!accept(a.fault, BadIndex::append_request, t, request, a.A) ||
        !accept(a.fault, BadIndex::append_position, t, position, a.M * a.B) ||
        !accept(a.fault, BadIndex::append_position_of_rope, t, position, a.rope.S))
        return nullptr;
    int64_t slot = position / a.B, page = a.table[request * a.M + slot];
    if (page < 0 || page >= a.page_count) {
        refuse(a.fault, BadIndex::append_page, request, slot, page, a.page_count);
        return nullptr;
    }
    return static_cast<typename Cache::Value *>(a.pages) + (page * a.B + position % a.B) * (a.C + a.R);
}

template <class Cache, class Format>
__global__ void __launch_bounds__(kThreads) latent_append(LatentAppend a) {
    for (int64_t t = blockIdx.x; t < a.T; t += gridDim.x) {
        auto *row = place<Cache>(a, t);
        if (row == nullptr) continue;
        const float *kv = a.kv + t * (a.C + a.R);
        normalize<Format>(row, kv, a.norm.data, a.C, a.eps);
        for (int64_t z = threadIdx.x; z < a.rope.Z; z += blockDim.x)
            rotate_pair(row + a.C, kv + a.C, a.rope, a.position[t], z);
    }
}

}  // namespace
}  // namespace panamoe::cuda

using namespace panamoe;
using namespace panamoe::cuda;

int32_t pm_latent_append(pm_context *ctx, void *pages, int32_t cache, const void *kv_TX, int32_t type,
                         const void *norm_C, int32_t format, float eps, const int32_t *table_AM,
                         const int32_t *request_T, const int32_t *position_T, const float *cos_SZ, const float *sin_SZ,
                         int32_t T, int32_t C, int32_t R, int32_t A, int32_t M, int32_t B, int32_t page_count,
                         int32_t S) {
    return enqueue(ctx, "latent_append", [&](const char *operation) {
        require_sizes(
            operation,
            {{"T", T, 0}, {"C", C}, {"R", R}, {"A", A}, {"M", M}, {"B", B}, {"page_count", page_count}, {"S", S}});
        require_even(operation, "R", R);
        require_type(operation, type);
        require_cache(operation, cache, pages);
        require_vector_format(operation, format, format_size(format));
        if (T == 0) return;
        require_arrays(operation, {{"kv_TX", kv_TX},
                                   {"table_AM", table_AM},
                                   {"request_T", request_T},
                                   {"position_T", position_T},
                                   {"cos_SZ", cos_SZ},
                                   {"sin_SZ", sin_SZ}});
        require_pointers(operation, {{"pages", pages}, {"norm_C", norm_C}});
        LatentAppend a{pages,
                       static_cast<const float *>(kv_TX),
                       matrix(norm_C, nullptr, C),
                       eps,
                       table_AM,
                       request_T,
                       position_T,
                       {cos_SZ, sin_SZ, R / 2, S},
                       T,
                       C,
                       R,
                       A,
                       M,
                       B,
                       page_count,
                       ctx->fault};
        with_cache(cache, [&](auto kind) {
            with_vector_format(format, [&](auto stored) {
                launch(operation, latent_append<decltype(kind), decltype(stored)>, blocks_for(T), threads_for(C),
                       kBlockSumBytes, ctx->stream, a);
            });
        });
    });
}
