// The functions of experts: rows are gathered, multiplied by their experts' matrices, and combined.
#include <algorithm>
#include <cstring>
#include <vector>

#include "arguments.hpp"
#include "cutting.hpp"
#include "products.hpp"

using namespace panamoe;

namespace {

// A table of the experts' matrices, under the header's names for it.
struct Experts {
    const char *name, *scale_name;
    const void *const *w_E, *const *scale_E;
    int32_t format;

    Matrix of(int32_t e, int64_t D) const {
        return matrix(w_E[e], scale_E == nullptr ? nullptr : scale_E[e], D, format);
    }
};

void require_offsets(const char *operation, const int32_t *offset_E1, int32_t N, int32_t E) {
    require(offset_E1[0] == 0, "%s: offset_E1[0] is %d, must be 0", operation, offset_E1[0]);
    require(offset_E1[E] == N, "%s: offset_E1[%d] is %d, N is %d", operation, E, offset_E1[E], N);
    for (int32_t e = 0; e < E; e++)
        require(offset_E1[e] <= offset_E1[e + 1] && offset_E1[e + 1] <= N,
                "%s: offset_E1[%d] is %d, offset_E1[%d] is %d, N is %d", operation, e, offset_E1[e], e + 1,
                offset_E1[e + 1], N);
}

// After require_offsets.
void require_experts(const char *operation, const Experts &experts, FormatSize size, const int32_t *offset_E1,
                     int32_t E) {
    require_pointers(operation, {{experts.name, experts.w_E}});
    require_scale(operation, experts.scale_name, experts.scale_E, experts.format, size);
    for (int32_t e = 0; e < E; e++) {
        int32_t rows = offset_E1[e + 1] - offset_E1[e];
        if (rows == 0) continue;
        require(experts.w_E[e] != nullptr, "%s: %s[%d] is NULL and has %d rows", operation, experts.name, e, rows);
        require(size.block == 0 || experts.scale_E[e] != nullptr, "%s: %s[%d] is NULL and has %d rows", operation,
                experts.scale_name, e, rows);
    }
}

// token_N, or where it is NULL, that there is a row of x or y for each n.
void require_tokens(const char *operation, const int32_t *token_N, int32_t N, int32_t T) {
    if (token_N != nullptr)
        require_indices(operation, "token_N", token_N, N, "T", T);
    else
        require(N == T, "%s: token_N is NULL, N is %d, T is %d", operation, N, T);
}

// What the fused functions multiply: row n of the call is row token[n] of x, or row n.
struct Grouped {
    const char *operation;
    const float *x;
    const int32_t *token;
    int64_t D;
    int32_t format;
    FormatSize size;

    int64_t row(int64_t n) const { return token == nullptr ? n : token[n]; }
    // Of a row as it is multiplied, in bytes.
    int64_t stride() const { return size.integer ? QuantizedRow::stride(D) : D * static_cast<int64_t>(sizeof(float)); }
    bool in_order(const RowBlock &block) const {
        for (int64_t i = 1; i < block.rows; i++)
            if (row(block.from + i) != row(block.from) + i) return false;
        return true;
    }
};

// ctx->blocks from offsets.
void find_blocks(pm_context *ctx, const int32_t *offset_E1, int32_t E) {
    ctx->blocks.clear();
    constexpr auto kRows = static_cast<int32_t>(kGemmRows);
    for (int32_t e = 0; e < E; e++)
        for (int32_t from = offset_E1[e]; from < offset_E1[e + 1]; from += std::min(kRows, offset_E1[e + 1] - from))
            ctx->blocks.push_back({e, from, std::min(kRows, offset_E1[e + 1] - from), -1, nullptr});
}

int64_t rows_of(const std::vector<RowBlock> &blocks, size_t first, size_t end) {
    return blocks[end - 1].from + blocks[end - 1].rows - blocks[first].from;
}

// Lays the rows of blocks from first on, as many as most allows but at least one block, so that each block's rows lie
// one after the other, and as codes where the format wants them; returns the end of those blocks. Rows in order that
// are multiplied as they are stay where they are, and a row alone lies once, however many experts take it.
size_t lay_rows(pm_context *ctx, const Grouped &g, size_t first, int64_t most) {
    std::vector<RowBlock> &blocks = ctx->blocks;
    std::vector<int32_t> &laid = ctx->laid;
    laid.clear();
    size_t end = first;
    for (; end < blocks.size(); end++) {
        if (end > first && rows_of(blocks, first, end + 1) > most) break;
        RowBlock &block = blocks[end];
        if (!g.size.integer && g.in_order(block)) continue;
        auto found = laid.end();
        if (block.rows == 1) found = std::find(laid.begin(), laid.end(), static_cast<int32_t>(g.row(block.from)));
        block.laid = found - laid.begin();
        if (found != laid.end()) continue;
        for (int64_t i = 0; i < block.rows; i++) laid.push_back(static_cast<int32_t>(g.row(block.from + i)));
    }
    auto rows = static_cast<int64_t>(laid.size());
    int64_t stride = g.stride();
    Byte *room = ctx->rows.of(g.operation, rows * stride);
    each_rows(ctx, rows, g.D, [&](int64_t from, int64_t to, void *) {
        for (int64_t i = from; i < to; i++) {
            const float *x = g.x + laid[static_cast<size_t>(i)] * g.D;
            if (g.size.integer)
                ctx->isa->quantize(room + i * stride, x, g.D, g.format);
            else
                std::memcpy(room + i * stride, x, static_cast<size_t>(stride));
        }
    });
    for (size_t i = first; i < end; i++) {
        RowBlock &block = blocks[i];
        block.x =
            block.laid < 0 ? static_cast<const void *>(g.x + g.row(block.from) * g.D) : room + block.laid * stride;
    }
    return end;
}

// y[row][f - from] = w[f] x[row] for the rows of a block and f in [from, to).
void multiply_block(pm_context *ctx, const Grouped &g, float *y, int64_t y_stride, const RowBlock &block,
                    const Matrix &w, int64_t from, int64_t to, int thread) {
    if (g.size.integer) {
        Matrix part = w;
        part.data += from * bytes_of_row(g.size, w.D);
        part.scale += from * QuantizedRow::groups(w.D) * kGroupScaleBytes;
        ctx->isa->gemm_integer({y, static_cast<const Byte *>(block.x), y_stride, g.stride(), block.rows, part}, 0,
                               to - from, ctx->scratch_of(thread));
    } else {
        ctx->isa->gemm({y, floats(block.x), y_stride, w.D, block.rows, w, from}, 0, to - from, ctx->scratch_of(thread));
    }
}

// body(block, from, to, thread) for pieces of blocks [first, end) x F outputs; a piece's outputs are at most as many as
// a tile holds for all rows of a block. matrices: how many of them a piece multiplies.
template <class Body>
void each_tile(pm_context *ctx, const Grouped &g, size_t first, size_t end, int64_t F, int64_t matrices,
               const Body &body) {
    Unit unit = unit_of(g.size);
    auto count = static_cast<int64_t>(end - first);
    Cut cut = cut_outputs(ctx, count, F, matrices * bytes_of_row(g.size, g.D),
                          product_of(matrices * rows_of(ctx->blocks, first, end), g.D, F), unit);
    each_piece(ctx, count * cut.pieces, cut.alone, [&](int64_t piece, int thread) {
        int64_t from = piece % cut.pieces * cut.outputs, to = std::min(F, from + cut.outputs);
        const RowBlock &block = ctx->blocks[first + static_cast<size_t>(piece / cut.pieces)];
        for (int64_t f = from; f < to; f += unit.outputs) body(block, f, std::min(to, f + unit.outputs), thread);
    });
}
static_assert(kGemmRows * std::max(kGemmOutputs, kIntegerOutputs) * sizeof(float) <= kTileBytes);

// All N rows of x.
void combine_all(pm_context *ctx, const Combine &combine, int64_t D) {
    // Whole cache lines, so that no two threads write to one.
    int64_t columns = std::max<int64_t>(16, kElements / combine.N / 16 * 16);
    each_range(ctx, D, columns, [&](int64_t from, int64_t to, void *) { ctx->isa->combine(combine, from, to); });
}

// Rows [from, from + rows) of a call, whose products x begin with column column of y.
Combine combine_rows(float *y_TD, int64_t D, int64_t column, const float *x, int64_t x_stride, const int32_t *token_N,
                     const float *weight_N, int64_t from, int64_t rows) {
    if (token_N == nullptr) return {y_TD + from * D + column, x, D, x_stride, nullptr, nullptr, rows};
    return {y_TD + column, x, D, x_stride, token_N + from, weight_N + from, rows};
}

}  // namespace

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
        require_offsets(operation, offset_E1, N, E);
        Experts experts{"w_E", "scale_E", w_E, scale_E, format};
        require_experts(operation, experts, size, offset_E1, E);
        std::vector<Gemm> blocks;
        for (int32_t e = 0; e < E; e++) {
            int64_t from = offset_E1[e];
            if (from < offset_E1[e + 1])
                add_blocks(blocks, {floats(y_NF) + from * F, floats(x_ND) + from * D, F, D, offset_E1[e + 1] - from,
                                    experts.of(e, D), 0});
        }
        multiply_all(ctx, operation, blocks, F, size);
    });
}

int32_t pm_grouped_swiglu(pm_context *ctx, void *y_NF, const void *x_TD, int32_t type, const void *const *gate_E,
                          const void *const *gate_scale_E, const void *const *up_E, const void *const *up_scale_E,
                          int32_t format, const int32_t *offset_E1, const int32_t *token_N, int32_t N, int32_t T,
                          int32_t D, int32_t F, int32_t E) {
    return guarded(ctx, [&] {
        const char *operation = "grouped_swiglu";
        require_sizes(operation, {{"N", N, 0}, {"T", T, 0}, {"D", D}, {"F", F}, {"E", E}});
        require_type(operation, type);
        FormatSize size = require_format(ctx, operation, format);
        if (N == 0) return;
        require_pointers(operation, {{"y_NF", y_NF}, {"x_TD", x_TD}, {"offset_E1", offset_E1}});
        require_offsets(operation, offset_E1, N, E);
        require_tokens(operation, token_N, N, T);
        Experts gate{"gate_E", "gate_scale_E", gate_E, gate_scale_E, format};
        Experts up{"up_E", "up_scale_E", up_E, up_scale_E, format};
        require_experts(operation, gate, size, offset_E1, E);
        require_experts(operation, up, size, offset_E1, E);
        find_blocks(ctx, offset_E1, E);
        Grouped g{operation, floats(x_TD), token_N, D, format, size};
        int64_t stride = unit_of(size).outputs;
        for (size_t next = 0, end; next < ctx->blocks.size(); next = end) {
            end = lay_rows(ctx, g, next, kRoomBytes / g.stride());
            each_tile(ctx, g, next, end, F, 2, [&](const RowBlock &block, int64_t from, int64_t to, int thread) {
                float *y = floats(y_NF) + int64_t{block.from} * F + from, *factor = ctx->tile_of(thread);
                multiply_block(ctx, g, y, F, block, gate.of(block.expert, D), from, to, thread);
                multiply_block(ctx, g, factor, stride, block, up.of(block.expert, D), from, to, thread);
                for (int64_t i = 0; i < block.rows; i++)
                    ctx->isa->swiglu(y + i * F, y + i * F, factor + i * stride, to - from);
            });
        }
    });
}

int32_t pm_grouped_combine(pm_context *ctx, void *y_TD, const void *x_NF, int32_t type, const void *const *w_E,
                           const void *const *scale_E, int32_t format, const int32_t *offset_E1, const int32_t *token_N,
                           const float *weight_N, int32_t N, int32_t T, int32_t D, int32_t F, int32_t E) {
    return guarded(ctx, [&] {
        const char *operation = "grouped_combine";
        require_sizes(operation, {{"N", N, 0}, {"T", T, 0}, {"D", D}, {"F", F}, {"E", E}});
        require_type(operation, type);
        FormatSize size = require_format(ctx, operation, format);
        if (N == 0) return;
        require_pointers(operation, {{"y_TD", y_TD}, {"x_NF", x_NF}, {"offset_E1", offset_E1}});
        require_offsets(operation, offset_E1, N, E);
        require_tokens(operation, token_N, N, T);
        require_weights(operation, token_N, weight_N);
        Experts experts{"w_E", "scale_E", w_E, scale_E, format};
        require_experts(operation, experts, size, offset_E1, E);
        find_blocks(ctx, offset_E1, E);
        Grouped g{operation, floats(x_NF), nullptr, F, format, size};
        const std::vector<RowBlock> &blocks = ctx->blocks;

        // Few rows, which stay in the cache: a piece is a range of columns of y over all experts, one after the other.
        auto count = static_cast<int64_t>(blocks.size());
        Unit unit = unit_of(size);
        Cut cut = cut_outputs(ctx, 1, D, count * bytes_of_row(size, F), product_of(N, F, D), unit);
        if (N * g.stride() <= kScratchBytes && (cut.alone || cut.pieces >= 4 * ctx->threads->count())) {
            lay_rows(ctx, g, 0, N);
            each_piece(ctx, cut.pieces, cut.alone, [&](int64_t piece, int thread) {
                int64_t end = std::min<int64_t>(D, (piece + 1) * cut.outputs);
                float *products = ctx->tile_of(thread);
                for (int64_t from = piece * cut.outputs; from < end; from += unit.outputs) {
                    int64_t to = std::min(end, from + unit.outputs);
                    for (const RowBlock &block : blocks) {
                        multiply_block(ctx, g, products, unit.outputs, block, experts.of(block.expert, F), from, to,
                                       thread);
                        ctx->isa->combine(combine_rows(floats(y_TD), D, from, products, unit.outputs, token_N, weight_N,
                                                       block.from, block.rows),
                                          0, to - from);
                    }
                }
            });
            return;
        }

        // Many: all products of some experts, then their sum.
        int64_t row_bytes = std::max(g.stride(), D * static_cast<int64_t>(sizeof(float)));
        for (size_t next = 0, end; next < blocks.size(); next = end) {
            end = lay_rows(ctx, g, next, kRoomBytes / row_bytes);
            int64_t first = blocks[next].from, rows = rows_of(blocks, next, end);
            float *products =
                reinterpret_cast<float *>(ctx->products.of(operation, rows * D * static_cast<int64_t>(sizeof(float))));
            each_tile(ctx, g, next, end, D, 1, [&](const RowBlock &block, int64_t from, int64_t to, int thread) {
                multiply_block(ctx, g, products + (block.from - first) * D + from, D, block,
                               experts.of(block.expert, F), from, to, thread);
            });
            combine_all(ctx, combine_rows(floats(y_TD), D, 0, products, D, token_N, weight_N, first, rows), D);
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
        combine_all(ctx, {floats(y_TD), floats(x_ND), D, D, token_N, weight_N, N}, D);
    });
}
