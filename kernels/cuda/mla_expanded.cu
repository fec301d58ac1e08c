// mla_expanded: what mla_query, mla_attention and mla_output give, one after the other: absorbed. Between them lie T *
// H * (2 * C + R) floats of the context's own.
#include "cache.cuh"
#include "steps.hpp"

using namespace panamoe;
using namespace panamoe::cuda;

int32_t pm_mla_expanded(pm_context *ctx, void *o_THU, const void *q_in_THPR, int32_t type, const void *pages,
                        int32_t cache, const void *kv_b, const void *scale, int32_t format, const int32_t *table_AM,
                        const int32_t *request_T, const int32_t *position_T, const float *cos_SZ, const float *sin_SZ,
                        float softmax_scale, int32_t T, int32_t H, int32_t P, int32_t U, int32_t C, int32_t R,
                        int32_t A, int32_t M, int32_t B, int32_t page_count, int32_t S) {
    return enqueue(ctx, "mla_expanded", [&](const char *operation) {
        require_sizes(operation, {{"T", T, 0},
                                  {"H", H},
                                  {"P", P},
                                  {"U", U},
                                  {"C", C},
                                  {"R", R},
                                  {"A", A},
                                  {"M", M},
                                  {"B", B},
                                  {"page_count", page_count},
                                  {"S", S}});
        require_even(operation, "R", R);
        require_type(operation, type);
        require_cache(operation, cache, pages);
        FormatSize size = require_format(operation, format, format_size(format));
        if (T == 0) return;
        require_arrays(operation, {{"o_THU", o_THU},
                                   {"q_in_THPR", q_in_THPR},
                                   {"table_AM", table_AM},
                                   {"request_T", request_T},
                                   {"position_T", position_T},
                                   {"cos_SZ", cos_SZ},
                                   {"sin_SZ", sin_SZ}});
        require_pointers(operation, {{"pages", pages}, {"kv_b", kv_b}});
        require_scale(operation, "scale", scale, format, size);
        const int64_t heads = int64_t{T} * H, X = C + int64_t{R};
        float *q_THX = floats_between_steps(*ctx, operation, heads * (X + C)), *o_THC = q_THX + heads * X;
        step(ctx, pm_mla_query(ctx, q_THX, q_in_THPR, type, kv_b, scale, format, position_T, cos_SZ, sin_SZ, T, H, P, U,
                               C, R, S));
        step(ctx, pm_mla_attention(ctx, o_THC, q_THX, type, pages, cache, table_AM, request_T, position_T,
                                   softmax_scale, T, H, C, R, A, M, B, page_count));
        step(ctx, pm_mla_output(ctx, o_THU, o_THC, type, kv_b, scale, format, T, H, P, U, C));
    });
}
