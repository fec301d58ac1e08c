// grouped_swiglu: y[n] = silu(gate x[token[n]]) * (up x[token[n]]), gate and up of the expert that row n belongs to.
//
// As the functions it is made of, one after the other: the gathered rows and what up makes of them lie in the context's
// memory in between. What a kernel finds wrong in an index array is told in the name of its own function.
#include "steps.hpp"

using namespace panamoe;
using namespace panamoe::cuda;

int32_t pm_grouped_swiglu(pm_context *ctx, void *y_NF, const void *x_TD, int32_t type, const void *const *gate_E,
                          const void *const *gate_scale_E, const void *const *up_E, const void *const *up_scale_E,
                          int32_t format, const int32_t *offset_E1, const int32_t *token_N, int32_t N, int32_t T,
                          int32_t D, int32_t F, int32_t E) {
    return enqueue(ctx, "grouped_swiglu", [&](const char *operation) {
        require_sizes(operation, {{"N", N, 0}, {"T", T, 0}, {"D", D}, {"F", F}, {"E", E}});
        require_type(operation, type);
        FormatSize size = require_format(operation, format, format_size(format));
        if (N == 0) return;
        require_arrays(operation, {{"y_NF", y_NF}, {"x_TD", x_TD}, {"offset_E1", offset_E1}});
        require_pointers(operation, {{"gate_E", gate_E}, {"up_E", up_E}});
        require_scale(operation, "gate_scale_E", gate_scale_E, format, size);
        require_scale(operation, "up_scale_E", up_scale_E, format, size);
        require_tokens(operation, token_N, N, T);
        int64_t gathered = token_N == nullptr ? 0 : int64_t{N} * D;
        float *x_ND = floats_between_steps(*ctx, operation, gathered + int64_t{N} * F), *up_NF = x_ND + gathered;
        const void *x = x_TD;
        if (token_N != nullptr) {
            step(ctx, pm_gather(ctx, x_ND, x_TD, type, token_N, N, T, D));
            x = x_ND;
        }
        step(ctx, pm_grouped_gemm(ctx, y_NF, x, type, gate_E, gate_scale_E, format, offset_E1, N, D, F, E));
        step(ctx, pm_grouped_gemm(ctx, up_NF, x, type, up_E, up_scale_E, format, offset_E1, N, D, F, E));
        step(ctx, pm_swiglu(ctx, y_NF, y_NF, up_NF, type, N, F));
    });
}
