// mla_query: q[t][h][c] = sum over p of q_in[t][h][p] * Wk[p][c], then the rotated tail.
//
// One row: bound by memory, H * P * C weights pass once. Many rows: bound by arithmetic, 2 * T * H * P * C operations.
// The sum runs over the rows of Wk, so lanes lie over c and p ascends; a panel of kPanelRows x kPanelColumns weights is
// decoded once for all rows of the piece. A piece is one head x a block of rows.
#include "tiles.hpp"

namespace panamoe::PANAMOE_ISA {
namespace {

constexpr int64_t kPanelRows = 64, kPanelColumns = 128;

struct Panel {
    alignas(64) float w[kPanelRows][kPanelColumns];
};
static_assert(sizeof(Panel) <= 256 * 1024 && kPanelColumns % LANES == 0);

}  // namespace

void mla_query(const MlaQuery &a, int64_t h, int64_t from, int64_t to, void *scratch) {
    Panel &panel = *static_cast<Panel *>(scratch);
    int64_t X = a.C + a.R, in = a.P + a.R;
    for (int64_t t = from; t < to; t++) {
        float *q = a.q + (t * a.H + h) * X;
        __builtin_memset(q, 0, static_cast<size_t>(a.C) * sizeof(float));
        rotate(q + a.C, a.q_in + (t * a.H + h) * in + a.P, a.rope, a.position[t]);
    }
    with_format(a.kv_b.format, [&](auto format) {
        for (int64_t c = 0; c < a.C; c += kPanelColumns) {
            int64_t columns = a.C - c < kPanelColumns ? a.C - c : kPanelColumns;
            for (int64_t p = 0; p < a.P; p += kPanelRows) {
                int64_t rows = a.P - p < kPanelRows ? a.P - p : kPanelRows;
                for (int64_t i = 0; i < rows; i++)
                    decode<decltype(format)>(panel.w[i], a.kv_b, h * (a.P + a.U) + p + i, c, c + columns);
                each_row_tile(to - from, [&](auto count, int64_t r) {
                    int64_t row = (from + r) * a.H + h;
                    add_weighted<decltype(count)::kValue>(a.q + row * X + c, a.H * X, a.q_in + row * in + p, a.H * in,
                                                          panel.w[0], kPanelColumns, rows, columns);
                });
            }
        }
    });
}

}  // namespace panamoe::PANAMOE_ISA
