// mla_query: q[t][h][c] = sum over p of q_in[t][h][p] * Wk[p][c], then the rotated tail.
//
// One row: bound by memory, H * P * C weights pass once. Many rows: bound by arithmetic, 2 * T * H * P * C operations.
// The sum runs over the rows of Wk, so lanes lie over c and p ascends; a panel of kPanel weights is decoded once for
// all rows of the piece: for one row as wide as Wk, so that memory is read in one stream, for more of kColumns
// columns, so that sums stay long in registers. A piece is one head x a block of rows.
#include "tiles.hpp"

namespace panamoe::PANAMOE_ISA {
namespace {

constexpr int64_t kPanel = 8192, kColumns = 128, kMostColumns = 512;
static_assert(kPanel * sizeof(float) <= 256 * 1024 && kColumns % LANES == 0);

}  // namespace

void mla_query(const MlaQuery &a, int64_t h, int64_t from, int64_t to, void *scratch) {
    auto *panel = static_cast<float *>(scratch);
    int64_t width = to - from == 1 ? kMostColumns : kColumns, height = kPanel / width;
    int64_t X = a.C + a.R, in = a.P + a.R;
    for (int64_t t = from; t < to; t++) {
        float *q = a.q + (t * a.H + h) * X;
        __builtin_memset(q, 0, static_cast<size_t>(a.C) * sizeof(float));
        rotate(q + a.C, a.q_in + (t * a.H + h) * in + a.P, a.rope, a.position[t]);
    }
    with_format(a.kv_b.format, [&](auto format) {
        for (int64_t c = 0; c < a.C; c += width) {
            int64_t columns = a.C - c < width ? a.C - c : width;
            for (int64_t p = 0; p < a.P; p += height) {
                int64_t rows = a.P - p < height ? a.P - p : height;
                for (int64_t i = 0; i < rows; i++)
                    decode<decltype(format)>(panel + i * width, a.kv_b, h * (a.P + a.U) + p + i, c, c + columns);
                each_row_tile(to - from, [&](auto count, int64_t r) {
                    int64_t row = (from + r) * a.H + h;
                    add_weighted<decltype(count)::kValue>(a.q + row * X + c, a.H * X, a.q_in + row * in + p, a.H * in,
                                                          panel, width, rows, columns);
                });
            }
        }
    });
}

}  // namespace panamoe::PANAMOE_ISA
