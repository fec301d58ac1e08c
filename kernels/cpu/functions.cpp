// The functions of panamoe.h that compute: what is refused, how the work is cut, which kernel does it.
//
// Everything a kernel will follow as an index or a pointer is checked here, before anything is written. A piece is some
// ten microseconds of work: enough to hide the price of taking it, little enough to share out evenly.
#include <algorithm>
#include <cstring>
#include <vector>

#include "checks.hpp"
#include "cpu_context.hpp"
#include "isa.hpp"
#include "route.hpp"

using namespace panamoe;

namespace {

// Elements that one piece of a simple function takes. Fewer than that are not worth waking a thread.
constexpr int64_t kElements = 16 * 1024;
// Multiplications of a product that one thread does alone sooner than two together.
constexpr int64_t kMultiplications = 128 * 1024;
// Bytes of weights for one piece of a product.
constexpr int64_t kPieceBytes = 64 * 1024;
// Bytes of quantised rows that a product makes at once.
constexpr int64_t kQuantizedBytes = int64_t{64} << 20;

int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }

// ---- Checks ----

FormatSize require_format(pm_context *ctx, const char *operation, int32_t format) {
    return require_format(operation, format, ctx->isa->format_size(format));
}

void require_vector_format(pm_context *ctx, const char *operation, int32_t format) {
    require_vector_format(operation, format, ctx->isa->format_size(format));
}

// Every index[i] in [0, limit); limit_name as the header calls it.
void require_indices(const char *operation, const char *name, const int32_t *index, int64_t n, const char *limit_name,
                     int64_t limit) {
    for (int64_t i = 0; i < n; i++)
        if (index[i] < 0 || index[i] >= limit)
            fail("%s: %s[%lld] is %d, %s is %lld", operation, name, static_cast<long long>(i), index[i], limit_name,
                 static_cast<long long>(limit));
}

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

// ---- Cutting ----

// body(from, to, scratch) for ranges of at most grain that cover [0, n).
template <class Body>
void each_range(pm_context *ctx, int64_t n, int64_t grain, const Body &body) {
    ctx->threads->run(ceil_div(n, grain), [&](int64_t piece, int thread) {
        body(piece * grain, std::min(n, (piece + 1) * grain), ctx->scratch_of(thread));
    });
}

// Rows of width elements each.
template <class Body>
void each_rows(pm_context *ctx, int64_t rows, int64_t width, const Body &body) {
    each_range(ctx, rows, std::max<int64_t>(1, kElements / width), body);
}

// Products of F outputs each, already cut into blocks of at most kGemmRows rows: compute(block, from, to, scratch) for
// pieces of a multiple of unit outputs, or, where those would be too few to go round, of least outputs.
template <class Block, class Compute>
void multiply(pm_context *ctx, const std::vector<Block> &blocks, int64_t F, int64_t row_bytes, int64_t unit,
              int64_t least, const Compute &compute) {
    int64_t D = blocks[0].w.D, rows = 0;
    for (const Block &block : blocks) rows += block.T;
    auto count = static_cast<int64_t>(blocks.size());
    int64_t outputs = std::max(unit, kPieceBytes / row_bytes / unit * unit);
    int64_t threads = ctx->threads->count();
    if (count * ceil_div(F, outputs) < 4 * threads) outputs = std::max(least, outputs / 4 / least * least);
    if (static_cast<double>(rows) * static_cast<double>(D) * static_cast<double>(F) < kMultiplications) threads = 1;
    int64_t cuts = ceil_div(F, outputs);
    auto piece_of = [&](int64_t piece, int thread) {
        int64_t from = piece % cuts * outputs;
        compute(blocks[static_cast<size_t>(piece / cuts)], from, std::min(F, from + outputs), ctx->scratch_of(thread));
    };
    if (threads == 1) {
        for (int64_t piece = 0; piece < count * cuts; piece++) piece_of(piece, 0);
    } else {
        ctx->threads->run(count * cuts, piece_of);
    }
}

// Products that decode the weights.
void multiply(pm_context *ctx, const std::vector<Gemm> &blocks, int64_t F, FormatSize size) {
    if (blocks.empty()) return;
    // Half of it is a multiple of every tile, too.
    multiply(ctx, blocks, F, ceil_div(blocks[0].w.D * size.bits, 8), kGemmOutputs, kGemmOutputs / 2, ctx->isa->gemm);
}

// Products of codes: rows are quantised first, all that fit into some memory at once.
void multiply_integers(pm_context *ctx, const char *operation, const std::vector<Gemm> &blocks, int64_t F,
                       FormatSize size) {
    for (size_t next = 0; next < blocks.size();) {
        const Gemm &first = blocks[next];
        int64_t D = first.w.D, stride = QuantizedRow::stride(D), rows = 0;
        std::vector<IntegerGemm> some;
        for (; next < blocks.size(); next++) {
            const Gemm &block = blocks[next];
            if (rows > 0 && (rows + block.T) * stride > kQuantizedBytes) break;
            some.push_back({block.y, nullptr, block.y_stride, stride, block.T, block.w});
            rows += block.T;
        }
        Byte *quantized = ctx->quantized_rows(operation, rows * stride + QuantizedRow::kBeyond);
        for (int64_t row = 0; IntegerGemm & block : some) {
            block.x = quantized + row * stride;
            row += block.T;
        }
        each_rows(ctx, rows, D, [&](int64_t from, int64_t to, void *) {
            for (int64_t row = from; row < to; row++)
                ctx->isa->quantize(quantized + row * stride, first.x + row * first.x_stride, D, first.w.format);
        });
        multiply(ctx, some, F, ceil_div(D * size.bits, 8), kIntegerOutputs, kIntegerOutputs / 4,
                 ctx->isa->gemm_integer);
    }
}

// Of gemm and grouped_gemm, whose blocks are all the rows of x, one after the other.
void multiply_all(pm_context *ctx, const char *operation, const std::vector<Gemm> &blocks, int64_t F, FormatSize size) {
    if (size.integer)
        multiply_integers(ctx, operation, blocks, F, size);
    else
        multiply(ctx, blocks, F, size);
}

void add_blocks(std::vector<Gemm> &blocks, const Gemm &all) {
    for (int64_t t = 0; t < all.T; t += kGemmRows) {
        Gemm block = all;
        block.x += t * all.x_stride;
        block.y += t * all.y_stride;
        block.T = std::min(kGemmRows, all.T - t);
        blocks.push_back(block);
    }
}

float *floats(void *data) { return static_cast<float *>(data); }
const float *floats(const void *data) { return static_cast<const float *>(data); }

Matrix matrix(const void *data, const void *scale, int64_t D, int32_t format) {
    return {static_cast<const Byte *>(data), static_cast<const Byte *>(scale), D, format};
}

}  // namespace

int32_t pm_rms_norm(pm_context *ctx, void *y_TD, const void *x_TD, int32_t type, const void *w_D, int32_t format,
                    int32_t T, int32_t D, float eps) {
    return guarded(ctx, [&] {
        const char *operation = "rms_norm";
        require_sizes(operation, {{"T", T, 0}, {"D", D}});
        require_type(operation, type);
        require_vector_format(ctx, operation, format);
        if (T == 0) return;
        require_pointers(operation, {{"y_TD", y_TD}, {"x_TD", x_TD}, {"w_D", w_D}});
        RmsNorm norm{floats(y_TD), floats(x_TD), matrix(w_D, nullptr, D, format), eps};
        each_rows(ctx, T, D, [&](int64_t from, int64_t to, void *) { ctx->isa->rms_norm(norm, from, to); });
    });
}

int32_t pm_gemm(pm_context *ctx, void *y_TF, const void *x_TD, int32_t type, const void *w_FD, const void *scale,
                int32_t format, int32_t T, int32_t D, int32_t F) {
    return guarded(ctx, [&] {
        const char *operation = "gemm";
        require_sizes(operation, {{"T", T, 0}, {"D", D}, {"F", F}});
        require_type(operation, type);
        FormatSize size = require_format(ctx, operation, format);
        if (T == 0) return;
        require_pointers(operation, {{"y_TF", y_TF}, {"x_TD", x_TD}, {"w_FD", w_FD}});
        require_scale(operation, "scale", scale, format, size);
        std::vector<Gemm> blocks;
        add_blocks(blocks, {floats(y_TF), floats(x_TD), F, D, T, matrix(w_FD, scale, D, format), 0});
        multiply_all(ctx, operation, blocks, F, size);
    });
}

int32_t pm_grouped_gemm(pm_context *ctx, void *y_NF, const void *x_ND, int32_t type, const void *const *w_E,
                        const void *const *scale_E, int32_t format, const int32_t *offset_E1, int32_t N, int32_t D,
                        int32_t F, int32_t E) {
    return guarded(ctx, [&] {
        const char *operation = "grouped_gemm";
        require_sizes(operation, {{"N", N, 0}, {"D", D}, {"F", F}, {"E", E}});
        require_type(operation, type);
        FormatSize size = require_format(ctx, operation, format);
        if (N == 0) return;
        require_pointers(operation, {{"y_NF", y_NF}, {"x_ND", x_ND}, {"w_E", w_E}, {"offset_E1", offset_E1}});
        require_scale(operation, "scale_E", scale_E, format, size);
        require(offset_E1[0] == 0, "%s: offset_E1[0] is %d, must be 0", operation, offset_E1[0]);
        require(offset_E1[E] == N, "%s: offset_E1[%d] is %d, N is %d", operation, E, offset_E1[E], N);
        std::vector<Gemm> blocks;
        for (int32_t e = 0; e < E; e++) {
            int32_t from = offset_E1[e], to = offset_E1[e + 1];
            require(from <= to && to <= N, "%s: offset_E1[%d] is %d, offset_E1[%d] is %d, N is %d", operation, e, from,
                    e + 1, to, N);
            if (from == to) continue;
            const void *scale = size.block == 0 ? nullptr : scale_E[e];
            require(w_E[e] != nullptr, "%s: w_E[%d] is NULL and has %d rows", operation, e, to - from);
            require(size.block == 0 || scale != nullptr, "%s: scale_E[%d] is NULL and has %d rows", operation, e,
                    to - from);
            add_blocks(blocks, {floats(y_NF) + int64_t{from} * F, floats(x_ND) + int64_t{from} * D, F, D, to - from,
                                matrix(w_E[e], scale, D, format), 0});
        }
        multiply_all(ctx, operation, blocks, F, size);
    });
}

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
        double work = 0;
        int64_t checked = 0;  // slots of row t's request that row t - 1 has checked already
        for (int32_t t = 0; t < T; t++) {
            if (t > 0 && request_T[t] != request_T[t - 1]) checked = 0;
            for (; checked <= position_T[t] / B; checked++) require_page(operation, rows, request_T[t], checked);
            work += static_cast<double>(position_T[t] + 1.0) * H * (2.0 * C + R);
        }
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

int32_t pm_score(pm_context *ctx, void *score_TE, int32_t type, int32_t scoring, int32_t T, int32_t E) {
    return guarded(ctx, [&] {
        const char *operation = "score";
        require_sizes(operation, {{"T", T, 0}, {"E", E}});
        require_type(operation, type);
        require_scoring(operation, scoring);
        if (T == 0) return;
        require_pointers(operation, {{"score_TE", score_TE}});
        each_rows(ctx, T, E, [&](int64_t from, int64_t to, void *) {
            if (scoring == PM_SIGMOID)
                sigmoid(floats(score_TE) + from * E, (to - from) * E);
            else
                for (int64_t t = from; t < to; t++) softmax(floats(score_TE) + t * E, E);
        });
    });
}

int32_t pm_route(pm_context *ctx, int32_t *expert_TK, float *share_TK, int32_t *offset_E1, int32_t *token_N,
                 float *weight_N, const void *score_TE, int32_t type, const float *bias_E, int32_t T, int32_t E,
                 int32_t K, int32_t G, int32_t kept, int32_t best, int32_t normalize, float factor) {
    return guarded(ctx, [&] {
        const char *operation = "route";
        require_route(operation, T, E, K, G, kept, best);
        require_type(operation, type);
        require_pointers(operation, {{"offset_E1", offset_E1}});
        if (T == 0) {
            std::fill_n(offset_E1, E + int64_t{1}, 0);
            return;
        }
        require_pointers(operation, {{"expert_TK", expert_TK},
                                     {"share_TK", share_TK},
                                     {"token_N", token_N},
                                     {"weight_N", weight_N},
                                     {"score_TE", score_TE}});
        Route route{bias_E, E, K, G, kept, best, normalize != 0, factor};
        std::vector<float> biased(static_cast<size_t>(E));
        std::vector<unsigned char> taken(static_cast<size_t>(int64_t{E} + G));
        std::vector<int32_t> next(static_cast<size_t>(E), 0);
        for (int64_t t = 0; t < T; t++) {
            choose(route, floats(score_TE) + t * E, expert_TK + t * K, share_TK + t * K, biased.data(), taken.data());
            for (int64_t k = 0; k < K; k++) next[static_cast<size_t>(expert_TK[t * K + k])]++;
        }
        int32_t offset = 0;
        for (int64_t e = 0; e < E; e++) {
            offset_E1[e] = offset;
            offset += next[static_cast<size_t>(e)];
            next[static_cast<size_t>(e)] = offset_E1[e];
        }
        offset_E1[E] = offset;
        for (int64_t i = 0; i < int64_t{T} * K; i++) {
            int32_t n = next[static_cast<size_t>(expert_TK[i])]++;
            token_N[n] = static_cast<int32_t>(i / K);
            weight_N[n] = share_TK[i];
        }
    });
}

int32_t pm_gather(pm_context *ctx, void *y_ND, const void *x_TD, int32_t type, const int32_t *token_N, int32_t N,
                  int32_t T, int32_t D) {
    return guarded(ctx, [&] {
        const char *operation = "gather";
        require_sizes(operation, {{"N", N, 0}, {"T", T, 0}, {"D", D}});
        require_type(operation, type);
        if (N == 0) return;
        require_pointers(operation, {{"y_ND", y_ND}, {"x_TD", x_TD}, {"token_N", token_N}});
        require_indices(operation, "token_N", token_N, N, "T", T);
        each_rows(ctx, N, D, [&](int64_t from, int64_t to, void *) {
            for (int64_t n = from; n < to; n++)
                std::memcpy(floats(y_ND) + n * D, floats(x_TD) + int64_t{token_N[n]} * D,
                            static_cast<size_t>(D) * sizeof(float));
        });
    });
}

int32_t pm_combine(pm_context *ctx, void *y_TD, const void *x_ND, int32_t type, const int32_t *token_N,
                   const float *weight_N, int32_t N, int32_t T, int32_t D) {
    return guarded(ctx, [&] {
        const char *operation = "combine";
        require_sizes(operation, {{"N", N, 0}, {"T", T, 0}, {"D", D}});
        require_type(operation, type);
        if (N == 0) return;
        require_pointers(operation, {{"y_TD", y_TD}, {"x_ND", x_ND}, {"token_N", token_N}, {"weight_N", weight_N}});
        require_indices(operation, "token_N", token_N, N, "T", T);
        Combine combine{floats(y_TD), floats(x_ND), token_N, weight_N, N, D};
        // Whole cache lines, so that no two threads write to one.
        int64_t columns = std::max<int64_t>(16, kElements / N / 16 * 16);
        each_range(ctx, D, columns, [&](int64_t from, int64_t to, void *) { ctx->isa->combine(combine, from, to); });
    });
}

int32_t pm_swiglu(pm_context *ctx, void *y_NF, const void *gate_NF, const void *up_NF, int32_t type, int32_t N,
                  int32_t F) {
    return guarded(ctx, [&] {
        const char *operation = "swiglu";
        require_sizes(operation, {{"N", N, 0}, {"F", F}});
        require_type(operation, type);
        if (N == 0) return;
        require_pointers(operation, {{"y_NF", y_NF}, {"gate_NF", gate_NF}, {"up_NF", up_NF}});
        each_range(ctx, int64_t{N} * F, kElements, [&](int64_t from, int64_t to, void *) {
            ctx->isa->swiglu(floats(y_NF) + from, floats(gate_NF) + from, floats(up_NF) + from, to - from);
        });
    });
}

int32_t pm_add(pm_context *ctx, void *y_TD, const void *x_TD, int32_t type, int32_t T, int32_t D) {
    return guarded(ctx, [&] {
        const char *operation = "add";
        require_sizes(operation, {{"T", T, 0}, {"D", D}});
        require_type(operation, type);
        if (T == 0) return;
        require_pointers(operation, {{"y_TD", y_TD}, {"x_TD", x_TD}});
        each_range(ctx, int64_t{T} * D, kElements, [&](int64_t from, int64_t to, void *) {
            ctx->isa->add(floats(y_TD) + from, floats(x_TD) + from, to - from);
        });
    });
}

int32_t pm_embed(pm_context *ctx, void *y_TD, int32_t type, const void *w_VD, const void *scale, int32_t format,
                 const int32_t *token_T, int32_t T, int32_t V, int32_t D) {
    return guarded(ctx, [&] {
        const char *operation = "embed";
        require_sizes(operation, {{"T", T, 0}, {"V", V}, {"D", D}});
        require_type(operation, type);
        FormatSize size = require_format(ctx, operation, format);
        if (T == 0) return;
        require_pointers(operation, {{"y_TD", y_TD}, {"w_VD", w_VD}, {"token_T", token_T}});
        require_scale(operation, "scale", scale, format, size);
        require_indices(operation, "token_T", token_T, T, "V", V);
        Matrix w = matrix(w_VD, scale, D, format);
        each_rows(ctx, T, D, [&](int64_t from, int64_t to, void *) {
            for (int64_t t = from; t < to; t++) ctx->isa->embed(floats(y_TD) + t * D, w, token_T[t]);
        });
    });
}

int32_t pm_argmax(pm_context *ctx, int32_t *index_T, const void *x_TV, int32_t type, int32_t T, int32_t V) {
    return guarded(ctx, [&] {
        const char *operation = "argmax";
        require_sizes(operation, {{"T", T, 0}, {"V", V}});
        require_type(operation, type);
        if (T == 0) return;
        require_pointers(operation, {{"index_T", index_T}, {"x_TV", x_TV}});
        each_rows(ctx, T, V, [&](int64_t from, int64_t to, void *) {
            for (int64_t t = from; t < to; t++) index_T[t] = ctx->isa->argmax(floats(x_TV) + t * V, V);
        });
    });
}
