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
// Bytes of rows that a call lays, and of products that wait for its second job, at once.
constexpr int64_t kRoomBytes = int64_t{64} << 20;

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

// The pages of every row's request up to its position.
void require_pages(const char *operation, const Rows &rows) {
    int64_t checked = 0;  // slots of row t's request that row t - 1 has checked already
    for (int32_t t = 0; t < rows.T; t++) {
        if (t > 0 && rows.request[t] != rows.request[t - 1]) checked = 0;
        for (; checked <= rows.position[t] / rows.B; checked++) require_page(operation, rows, rows.request[t], checked);
    }
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

// Pieces of products take a multiple of so many outputs, or, where those would be too few to go round, of least.
struct Unit {
    int64_t outputs, least;
};
// Half of it is a multiple of every tile of gemm, too.
constexpr Unit kDecodedUnit{kGemmOutputs, kGemmOutputs / 2}, kIntegerUnit{kIntegerOutputs, kIntegerOutputs / 4};

Unit unit_of(FormatSize size) { return size.integer ? kIntegerUnit : kDecodedUnit; }

int64_t bytes_of_row(FormatSize size, int64_t D) { return ceil_div(D * size.bits, 8); }

// How the F outputs of each block of rows are shared out.
struct Cut {
    int64_t outputs;  // of a piece
    int64_t pieces;   // of a block
    bool alone;       // too little work to wake a thread
};

// row_bytes: what a piece reads of weights for one output.
Cut cut_outputs(pm_context *ctx, int64_t blocks, int64_t F, int64_t row_bytes, double multiplications, Unit unit) {
    int64_t outputs = std::max(unit.outputs, kPieceBytes / row_bytes / unit.outputs * unit.outputs);
    if (blocks * ceil_div(F, outputs) < 4 * ctx->threads->count())
        outputs = std::max(unit.least, outputs / 4 / unit.least * unit.least);
    return {outputs, ceil_div(F, outputs), multiplications < kMultiplications};
}

// body(piece, thread) for all pieces.
template <class Body>
void each_piece(pm_context *ctx, int64_t pieces, bool alone, const Body &body) {
    if (alone) {
        for (int64_t piece = 0; piece < pieces; piece++) body(piece, 0);
    } else {
        ctx->threads->run(pieces, body);
    }
}

double product_of(int64_t rows, int64_t D, int64_t F) {
    return static_cast<double>(rows) * static_cast<double>(D) * static_cast<double>(F);
}

// Products of F outputs each, already cut into blocks of at most kGemmRows rows: compute(block, from, to, scratch).
template <class Block, class Compute>
void multiply(pm_context *ctx, const std::vector<Block> &blocks, int64_t F, FormatSize size, const Compute &compute) {
    int64_t D = blocks[0].w.D, rows = 0;
    for (const Block &block : blocks) rows += block.T;
    auto count = static_cast<int64_t>(blocks.size());
    Cut cut = cut_outputs(ctx, count, F, bytes_of_row(size, D), product_of(rows, D, F), unit_of(size));
    each_piece(ctx, count * cut.pieces, cut.alone, [&](int64_t piece, int thread) {
        int64_t from = piece % cut.pieces * cut.outputs;
        compute(blocks[static_cast<size_t>(piece / cut.pieces)], from, std::min(F, from + cut.outputs),
                ctx->scratch_of(thread));
    });
}

// Products that decode the weights.
void multiply(pm_context *ctx, const std::vector<Gemm> &blocks, int64_t F, FormatSize size) {
    if (!blocks.empty()) multiply(ctx, blocks, F, size, ctx->isa->gemm);
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
            if (rows > 0 && (rows + block.T) * stride > kRoomBytes) break;
            some.push_back({block.y, nullptr, block.y_stride, stride, block.T, block.w});
            rows += block.T;
        }
        Byte *quantized = ctx->rows.of(operation, rows * stride + QuantizedRow::kBeyond);
        for (int64_t row = 0; IntegerGemm & block : some) {
            block.x = quantized + row * stride;
            row += block.T;
        }
        each_rows(ctx, rows, D, [&](int64_t from, int64_t to, void *) {
            for (int64_t row = from; row < to; row++)
                ctx->isa->quantize(quantized + row * stride, first.x + row * first.x_stride, D, first.w.format);
        });
        multiply(ctx, some, F, size, ctx->isa->gemm_integer);
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

// ---- Grouped products ----

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
    Byte *room = ctx->rows.of(g.operation, rows * stride + QuantizedRow::kBeyond);
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
        part.scale += from * QuantizedRow::groups(w.D) * static_cast<int64_t>(sizeof(float));
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
        combine_all(ctx, {floats(y_TD), floats(x_ND), D, D, token_N, weight_N, N}, D);
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
