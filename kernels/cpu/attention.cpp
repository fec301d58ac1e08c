// The functions of attention to latents: of the cache's pages and of kv_b.
#include <algorithm>
#include <vector>

#include "arguments.hpp"
#include "cutting.hpp"
#include "products.hpp"

using namespace panamoe;

namespace {

// The cached rows that a call reaches: requests, positions, and pages of the table up to each position.
struct Rows {
    const int32_t *table, *request, *position;
    int32_t T, A, M, B, page_count;
};

void require_page(const char *operation, const Rows &rows, int64_t request, int64_t slot) {
    int32_t page = rows.table[request * rows.M + slot];
    if (page < 0 || page >= rows.page_count)
        fail("%s: table_AM[%lld][%lld] is %d, page_count is %d", operation, static_cast<long long>(request),
             static_cast<long long>(slot), page, rows.page_count);
}

void require_positions(const char *operation, const Rows &rows) {
    require_indices(operation, "request_T", rows.request, rows.T, "A", rows.A);
    require_indices(operation, "position_T", rows.position, rows.T, "M * B", static_cast<int64_t>(rows.M) * rows.B);
}

// The pages of every row's request up to its position.
void require_pages(const char *operation, const Rows &rows) {
    int64_t checked = 0;  // slots of row t's request that row t - 1 has checked already
    for (int32_t t = 0; t < rows.T; t++) {
        if (t > 0 && rows.request[t] != rows.request[t - 1]) checked = 0;
        for (; checked <= rows.position[t] / rows.B; checked++) require_page(operation, rows, rows.request[t], checked);
    }
}

}  // namespace

int32_t pm_mla_query(pm_context *ctx, void *q_THX, const void *q_in_THPR, int32_t type, const void *kv_b,
                     const void *scale, int32_t format, const int32_t *position_T, const float *cos_SZ,
                     const float *sin_SZ, int32_t T, int32_t H, int32_t P, int32_t U, int32_t C, int32_t R, int32_t S) {
    return guarded(ctx, [&] {
        const char *operation = "mla_query";
        require_sizes(operation, {{"T", T, 0}, {"H", H}, {"P", P}, {"U", U}, {"C", C}, {"R", R}, {"S", S}});
        require_even(operation, "R", R);
        require_type(operation, type);
        FormatSize size = require_format(ctx, operation, format);
        if (T == 0) return;
        require_pointers(operation, {{"q_THX", q_THX},
                                     {"q_in_THPR", q_in_THPR},
                                     {"kv_b", kv_b},
                                     {"position_T", position_T},
                                     {"cos_SZ", cos_SZ},
                                     {"sin_SZ", sin_SZ}});
        require_scale(operation, "scale", scale, format, size);
        require_indices(operation, "position_T", position_T, T, "S", S);
        MlaQuery query{floats(q_THX),
                       floats(q_in_THPR),
                       matrix(kv_b, scale, C, format),
                       position_T,
                       {cos_SZ, sin_SZ, R / 2},
                       H,
                       P,
                       U,
                       C,
                       R};
        int64_t blocks = ceil_div(T, kGemmRows);
        int64_t pieces = H * blocks;
        auto piece_of = [&](int64_t piece, int thread) {
            int64_t from = piece % blocks * kGemmRows;
            ctx->isa->mla_query(query, piece / blocks, from, std::min<int64_t>(T, from + kGemmRows),
                                ctx->scratch_of(thread));
        };
        if (int64_t{T} * H * P < kMultiplications / C) {
            for (int64_t piece = 0; piece < pieces; piece++) piece_of(piece, 0);
        } else {
            ctx->threads->run(pieces, piece_of);
        }
    });
}

int32_t pm_latent_append(pm_context *ctx, void *pages, int32_t cache, const void *kv_TX, int32_t type,
                         const void *norm_C, int32_t format, float eps, const int32_t *table_AM,
                         const int32_t *request_T, const int32_t *position_T, const float *cos_SZ, const float *sin_SZ,
                         int32_t T, int32_t C, int32_t R, int32_t A, int32_t M, int32_t B, int32_t page_count,
                         int32_t S) {
    return guarded(ctx, [&] {
        const char *operation = "latent_append";
        require_sizes(
            operation,
            {{"T", T, 0}, {"C", C}, {"R", R}, {"A", A}, {"M", M}, {"B", B}, {"page_count", page_count}, {"S", S}});
        require_even(operation, "R", R);
        require_type(operation, type);
        require_cache(operation, cache);
        require_vector_format(ctx, operation, format);
        if (T == 0) return;
        require_pointers(operation, {{"pages", pages},
                                     {"kv_TX", kv_TX},
                                     {"norm_C", norm_C},
                                     {"table_AM", table_AM},
                                     {"request_T", request_T},
                                     {"position_T", position_T},
                                     {"cos_SZ", cos_SZ},
                                     {"sin_SZ", sin_SZ}});
        Rows rows{table_AM, request_T, position_T, T, A, M, B, page_count};
        require_positions(operation, rows);
        require_indices(operation, "position_T", position_T, T, "S", S);
        for (int32_t t = 0; t < T; t++) require_page(operation, rows, request_T[t], position_T[t] / B);
        LatentAppend append{floats(pages),
                            floats(kv_TX),
                            matrix(norm_C, nullptr, C, format),
                            eps,
                            table_AM,
                            request_T,
                            position_T,
                            {cos_SZ, sin_SZ, R / 2},
                            C,
                            R,
                            M,
                            B};
        each_rows(ctx, T, int64_t{C} + R,
                  [&](int64_t from, int64_t to, void *) { ctx->isa->latent_append(append, from, to); });
    });
}

namespace {

// Heads of a piece of attention: many, for they share what is read, if two pieces are left for every thread; and as
// many in each piece.
int64_t attention_heads(int64_t H, int64_t T, int threads) {
    constexpr int64_t kLeast = 12;  // a multiple of every instruction set's tile
    int64_t heads = kAttentionHeads;
    if (threads > 1)
        while (heads > kLeast && T * ceil_div(H, heads) < 2 * threads) heads -= kLeast;
    return ceil_div(H, ceil_div(H, heads));
}

}  // namespace

int32_t pm_mla_attention(pm_context *ctx, void *o_THC, const void *q_THX, int32_t type, const void *pages,
                         int32_t cache, const int32_t *table_AM, const int32_t *request_T, const int32_t *position_T,
                         float scale, int32_t T, int32_t H, int32_t C, int32_t R, int32_t A, int32_t M, int32_t B,
                         int32_t page_count) {
    return guarded(ctx, [&] {
        const char *operation = "mla_attention";
        require_sizes(
            operation,
            {{"T", T, 0}, {"H", H}, {"C", C}, {"R", R}, {"A", A}, {"M", M}, {"B", B}, {"page_count", page_count}});
        require_type(operation, type);
        require_cache(operation, cache);
        if (T == 0) return;
        require_pointers(operation, {{"o_THC", o_THC},
                                     {"q_THX", q_THX},
                                     {"pages", pages},
                                     {"table_AM", table_AM},
                                     {"request_T", request_T},
                                     {"position_T", position_T}});
        Rows rows{table_AM, request_T, position_T, T, A, M, B, page_count};
        require_positions(operation, rows);
        require_pages(operation, rows);
        double work = 0;
        for (int32_t t = 0; t < T; t++) work += static_cast<double>(position_T[t] + 1.0) * H * (2.0 * C + R);
        MlaAttention attention{
            floats(o_THC), floats(q_THX), floats(pages), table_AM, request_T, position_T, scale, H, C, R, M, B};
        int64_t heads = attention_heads(H, T, ctx->threads->count()), groups = ceil_div(H, heads);
        auto piece_of = [&](int64_t piece, int thread) {
            int64_t from = piece % groups * heads;
            ctx->isa->mla_attention(attention, piece / groups, from, std::min<int64_t>(H, from + heads),
                                    ctx->scratch_of(thread));
        };
        if (work < kMultiplications) {
            for (int64_t piece = 0; piece < T * groups; piece++) piece_of(piece, 0);
        } else {
            ctx->threads->run(T * groups, piece_of);
        }
    });
}

namespace {

// An odd number of cache lines for n floats.
int64_t odd_lines(int64_t n) { return (ceil_div(n, 16) | 1) * 16; }

}  // namespace

int32_t pm_mla_expanded(pm_context *ctx, void *o_THU, const void *q_in_THPR, int32_t type, const void *pages,
                        int32_t cache, const void *kv_b, const void *scale, int32_t format, const int32_t *table_AM,
                        const int32_t *request_T, const int32_t *position_T, const float *cos_SZ, const float *sin_SZ,
                        float softmax_scale, int32_t T, int32_t H, int32_t P, int32_t U, int32_t C, int32_t R,
                        int32_t A, int32_t M, int32_t B, int32_t page_count, int32_t S) {
    return guarded(ctx, [&] {
        const char *operation = "mla_expanded";
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
        require_cache(operation, cache);
        FormatSize size = require_format(ctx, operation, format);
        if (T == 0) return;
        require_pointers(operation, {{"o_THU", o_THU},
                                     {"q_in_THPR", q_in_THPR},
                                     {"pages", pages},
                                     {"kv_b", kv_b},
                                     {"table_AM", table_AM},
                                     {"request_T", request_T},
                                     {"position_T", position_T},
                                     {"cos_SZ", cos_SZ},
                                     {"sin_SZ", sin_SZ}});
        require_scale(operation, "scale", scale, format, size);
        Rows rows{table_AM, request_T, position_T, T, A, M, B, page_count};
        require_positions(operation, rows);
        require_indices(operation, "position_T", position_T, T, "S", S);
        require_pages(operation, rows);
        MlaExpanded attention{floats(o_THU),
                              floats(q_in_THPR),
                              floats(pages),
                              matrix(kv_b, scale, C, format),
                              table_AM,
                              request_T,
                              position_T,
                              {cos_SZ, sin_SZ, R / 2},
                              softmax_scale,
                              H,
                              P,
                              U,
                              C,
                              R,
                              M,
                              B};
        int64_t most = std::min<int64_t>(T, kExpandedRows);
        int64_t q_stride = odd_lines(int64_t{P} + R), o_stride = odd_lines(U);
        int64_t q = most * q_stride, o = most * o_stride, key = (int64_t{P} + R) * kKeyStride;
        int64_t each = q + o + key + kExpandedPositions * o_stride;
        auto *memory = reinterpret_cast<float *>(
            ctx->expanded.of(operation, ctx->threads->count() * each * static_cast<int64_t>(sizeof(float))));
        // One range of rows after the other, for each has as many pieces as there are heads.
        for (int64_t from = 0, to; from < T; from = to) {
            to = from + 1;
            while (to < T && to - from < kExpandedRows && request_T[to] == request_T[from]) to++;
            ctx->threads->run(H, [&](int64_t h, int thread) {
                float *mine = memory + thread * each;
                ctx->isa->mla_expanded(attention, h, from, to, ctx->scratch_of(thread),
                                       {mine, mine + q, mine + q + o, mine + q + o + key, q_stride, o_stride});
            });
        }
    });
}

int32_t pm_mla_output(pm_context *ctx, void *o_out_THU, const void *o_THC, int32_t type, const void *kv_b,
                      const void *scale, int32_t format, int32_t T, int32_t H, int32_t P, int32_t U, int32_t C) {
    return guarded(ctx, [&] {
        const char *operation = "mla_output";
        require_sizes(operation, {{"T", T, 0}, {"H", H}, {"P", P}, {"U", U}, {"C", C}});
        require_type(operation, type);
        FormatSize size = require_format(ctx, operation, format);
        if (T == 0) return;
        require_pointers(operation, {{"o_out_THU", o_out_THU}, {"o_THC", o_THC}, {"kv_b", kv_b}});
        require_scale(operation, "scale", scale, format, size);
        std::vector<Gemm> blocks;
        for (int64_t h = 0; h < H; h++)
            add_blocks(blocks, {floats(o_out_THU) + h * U, floats(o_THC) + h * C, int64_t{H} * U, int64_t{H} * C, T,
                                matrix(kv_b, scale, C, format), h * (int64_t{P} + U) + P});
        multiply(ctx, blocks, U, size);
    });
}
