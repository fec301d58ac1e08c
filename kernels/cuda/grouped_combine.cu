// grouped_combine: y[token[n]] += weight[n] * (w x[n]), n ascending, w of the expert that row n belongs to.
//
// As the functions it is made of, one after the other: the products lie in the context's memory in between. What a
// kernel finds wrong in an index array is told in the name of its own function.
#include "steps.hpp"

using namespace panamoe;
using namespace panamoe::cuda;

int32_t pm_grouped_combine(pm_context *ctx, void *y_TD, const void *x_NF, int32_t type, const void *const *w_E,
                           const void *const *scale_E, int32_t format, const int32_t *offset_E1, const int32_t *token_N,
                           const float *weight_N, int32_t N, int32_t T, int32_t D, int32_t F, int32_t E) {
    return enqueue(ctx, "grouped_combine", [&](const char *operation) {
        require_sizes(operation, {{"N", N, 0}, {"T", T, 0}, {"D", D}, {"F", F}, {"E", E}});
        require_type(operation, type);
        FormatSize size = require_format(operation, format, format_size(format));
        if (N == 0) return;
        require_arrays(operation, {{"y_TD", y_TD}, {"x_NF", x_NF}, {"offset_E1", offset_E1}});
        require_pointers(operation, {{"w_E", w_E}});
        require_scale(operation, "scale_E", scale_E, format, size);
        require_tokens(operation, token_N, N, T);
        require_weights(operation, token_N, weight_N);
        float *x_ND = floats_between_steps(*ctx, operation, int64_t{N} * D);
        step(ctx, pm_grouped_gemm(ctx, x_ND, x_NF, type, w_E, scale_E, format, offset_E1, N, F, D, E));
        if (token_N == nullptr)
            step(ctx, pm_add(ctx, y_TD, x_ND, type, T, D));
        else
            step(ctx, pm_combine(ctx, y_TD, x_ND, type, token_N, weight_N, N, T, D));
    });
}
