// How work is cut into pieces for the threads.
//
// A piece is some ten microseconds of work: enough to hide the price of taking it, little enough to share out evenly.
#pragma once

#include <algorithm>

#include "cpu_context.hpp"
#include "isa.hpp"

namespace panamoe {

// Elements that one piece of a simple function takes. Fewer than that are not worth waking a thread.
constexpr int64_t kElements = 16 * 1024;
// Multiplications of a product that one thread does alone sooner than two together.
constexpr int64_t kMultiplications = 128 * 1024;
// Bytes of weights for one piece of a product.
constexpr int64_t kPieceBytes = 64 * 1024;

inline int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }

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

// body(piece, thread) for all pieces.
template <class Body>
void each_piece(pm_context *ctx, int64_t pieces, bool alone, const Body &body) {
    if (alone) {
        for (int64_t piece = 0; piece < pieces; piece++) body(piece, 0);
    } else {
        ctx->threads->run(pieces, body);
    }
}

// ---- Products ----

// Pieces of products take a multiple of so many outputs, or, where those would be too few to go round, of least.
struct Unit {
    int64_t outputs, least;
};
// Half of it is a multiple of every tile of gemm, too.
constexpr Unit kDecodedUnit{kGemmOutputs, kGemmOutputs / 2}, kIntegerUnit{kIntegerOutputs, kIntegerOutputs / 4};

inline Unit unit_of(FormatSize size) { return size.integer ? kIntegerUnit : kDecodedUnit; }

inline int64_t bytes_of_row(FormatSize size, int64_t D) { return ceil_div(D * size.bits, 8); }

// How the F outputs of each block of rows are shared out.
struct Cut {
    int64_t outputs;  // of a piece
    int64_t pieces;   // of a block
    bool alone;       // too little work to wake a thread
};

// row_bytes: what a piece reads of weights for one output.
inline Cut cut_outputs(pm_context *ctx, int64_t blocks, int64_t F, int64_t row_bytes, double multiplications,
                       Unit unit) {
    int64_t outputs = std::max(unit.outputs, kPieceBytes / row_bytes / unit.outputs * unit.outputs);
    if (blocks * ceil_div(F, outputs) < 4 * ctx->threads->count())
        outputs = std::max(unit.least, outputs / 4 / unit.least * unit.least);
    return {outputs, ceil_div(F, outputs), multiplications < kMultiplications};
}

inline double product_of(int64_t rows, int64_t D, int64_t F) {
    return static_cast<double>(rows) * static_cast<double>(D) * static_cast<double>(F);
}

}  // namespace panamoe
