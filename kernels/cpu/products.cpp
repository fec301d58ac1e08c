// Products of rows with whole matrices, and gemm, which is one.
#include "products.hpp"

#include <algorithm>

#include "arguments.hpp"
#include "cutting.hpp"

namespace panamoe {

namespace {

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
        Byte *quantized = ctx->rows.of(operation, rows * stride);
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

}  // namespace

void multiply(pm_context *ctx, const std::vector<Gemm> &blocks, int64_t F, FormatSize size) {
    if (!blocks.empty()) multiply(ctx, blocks, F, size, ctx->isa->gemm);
}

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

}  // namespace panamoe

using namespace panamoe;

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
