// embed: y[t] = row token[t] of w, in fp32.
//
// Bound by memory: one row of w in, one of y out. A block decodes kColumns columns of one row.
#include "cuda_context.hpp"
#include "faults.cuh"
#include "formats.cuh"
#include "work.cuh"

namespace panamoe::cuda {
namespace {

constexpr int64_t kColumns = 1024;

struct Embed {
    float *y;
    Matrix w;
    const int32_t *token;
    int64_t T, V;
    Fault *fault;
};

template <class Format>
__global__ void __launch_bounds__(kThreads) embed(Embed a) {
    int64_t D = a.w.D, cuts = ceil_div(D, kColumns);
    for (int64_t item = blockIdx.x; item < a.T * cuts; item += gridDim.x) {
        int64_t t = item / cuts, from = item % cuts * kColumns, to = min(from + kColumns, D);
        int64_t token = a.token[t];
        if (!accept(a.fault, BadIndex::embed_token, t, token, a.V)) continue;
        const Byte *w = weight_row<Format>(a.w, token), *scale = scale_row<Format>(a.w, token);
        for (int64_t d = from + threadIdx.x; d < to; d += blockDim.x)
            a.y[t * D + d] = Format::read(w + d * Format::kBytes, load_scale<Format>(scale, d));
    }
}

}  // namespace
}  // namespace panamoe::cuda

using namespace panamoe;
using namespace panamoe::cuda;

int32_t pm_embed(pm_context *ctx, void *y_TD, int32_t type, const void *w_VD, const void *scale, int32_t format,
                 const int32_t *token_T, int32_t T, int32_t V, int32_t D) {
    return enqueue(ctx, "embed", [&](const char *operation) {
        require_sizes(operation, {{"T", T, 0}, {"V", V}, {"D", D}});
        require_type(operation, type);
        FormatSize size = require_format(operation, format, format_size(format));
        if (T == 0) return;
        require_arrays(operation, {{"y_TD", y_TD}, {"token_T", token_T}});
        require_pointers(operation, {{"w_VD", w_VD}});
        require_scale(operation, "scale", scale, format, size);
        Embed a{static_cast<float *>(y_TD), matrix(w_VD, scale, D), token_T, T, V, ctx->fault};
        with_format(format, [&](auto stored) {
            launch(operation, embed<decltype(stored)>, blocks_for(T * ceil_div(D, kColumns)), threads_for(D), 0,
                   ctx->stream, a);
        });
    });
}
