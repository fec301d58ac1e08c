// mla_query: q[t][h][c] = sum over p of q_in[t][h][p] * Wk[p][c], then the rotated tail.
//
// One row: bound by memory, H * P * C weights pass once. Many rows: bound by arithmetic, 2 * T * H * P * C operations.
// The sum runs over the rows of Wk, so lanes lie over c and p ascends. For one row, kRows rows of Wk at a time are
// added to q as they are decoded; integer formats, whose rows have scales of their own, are added row by row to sums of
// some groups of columns. For more rows a panel of kColumns columns is decoded once for all rows of the piece, so that
// sums stay long in registers. A piece is one head x a block of rows.
#include "tiles.hpp"

namespace panamoe::PANAMOE_ISA {
namespace {

constexpr int64_t kPanel = 8192, kColumns = 128;
static_assert(kPanel * sizeof(float) <= 256 * 1024 && kColumns % LANES == 0);

constexpr int kRows = 8;
constexpr int64_t kRowsAhead = 16;

// q[c] += sum over i of x[i] * w[f + i][c], i ascending, for ROWS rows that share their scales.
template <class Format, int ROWS>
void add_rows(float *q, const float *x, const Matrix &w, int64_t f) {
    int64_t stride = Format::bytes(w.D);
    Vec share[ROWS];
    for (int i = 0; i < ROWS; i++) share[i] = broadcast(x[i]);
    each_block<Format, ROWS>(w, f, 0, w.D, [&](auto reader, int64_t d, int64_t n) {
        const Byte *from = weights<Format>(w, f, d);
        for (int64_t k = 0; k < n; k += LANES) {
            int64_t left = n - k;
            Vec sum = left < LANES ? load(q + d + k, left) : load(q + d + k);
#pragma GCC unroll 8
            for (int i = 0; i < ROWS; i++) {
                const Byte *here = from + i * stride + Format::bytes(k);
                if (Format::bytes(d + k) % 64 == 0) prefetch<Cache::kSecond>(here + ROWS * stride);
                sum = fma(share[i], left < LANES ? read_tail(reader, here, left) : reader.read(here), sum);
            }
            if (left < LANES)
                store(q + d + k, sum, left);
            else
                store(q + d + k, sum);
        }
    });
}

// q += Wk x for one row.
template <class Format>
void add_all(float *q, const float *x, const Matrix &w, int64_t f, int64_t P) {
    for (int64_t p = 0; p < P;) {
        int64_t most = P - p < kRows ? P - p : kRows;
        if (rows_alike<Format>(f + p, most) == kRows) {
            add_rows<Format, kRows>(q, x + p, w, f + p);
            p += kRows;
        } else {
            add_rows<Format, 1>(q, x + p, w, f + p);
            p++;
        }
    }
}

// q = Wk x for one row and the columns of whole groups, whose sums stay in registers; returns how many those are. U:
// rows of w between those of a head and those of the next.
template <class Format>
int64_t add_groups(float *q, const float *x, const Matrix &w, int64_t f, int64_t P, int64_t U) {
    constexpr int64_t kGroups = LANES == 16 ? 8 : 2, kVecs = kGroup / LANES;
    int64_t stride = Format::bytes(w.D), groups = QuantizedRow::groups(w.D), scale_stride = groups * kGroupScaleBytes;
    auto add = [&](auto count, int64_t group) {
        constexpr int64_t kCount = decltype(count)::kValue;
        GroupVecs acc[kCount] = {};
        const Byte *from = weights<Format>(w, f, group * kGroup);
        const Byte *scales = w.scale + f * scale_stride + group * kGroupScaleBytes;
        for (int64_t p = 0; p < P; p++, from += stride, scales += scale_stride) {
            int64_t later = p + kRowsAhead < P ? kRowsAhead : kRowsAhead + U;  // or of the next head
            for (int64_t line = 0; line < Format::bytes(kCount * kGroup); line += 64)
                prefetch(w.near, from + later * stride + line);
            prefetch(w.near, scales + later * scale_stride);
            Vec share = broadcast(x[p]);
#pragma GCC unroll 8
            for (int64_t i = 0; i < kCount; i++) {
                GroupVecs weight;
                typename Format::Reader{broadcast(Format::scale(scales + i * kGroupScaleBytes))}.read_group(
                    weight, from + i * Format::bytes(kGroup));
#pragma GCC unroll 8
                for (int64_t v = 0; v < kVecs; v++) acc[i][v] = fma(share, weight[v], acc[i][v]);
            }
        }
        __builtin_memcpy(q + group * kGroup, acc, sizeof acc);
    };
    int64_t group = 0, whole = w.D / kGroup;
    for (; group + kGroups <= whole; group += kGroups) add(Count<kGroups>{}, group);
    for (; group < whole; group++) add(Count<1>{}, group);
    return whole * kGroup;
}

}  // namespace

void mla_query(const MlaQuery &a, int64_t h, int64_t from, int64_t to, void *scratch) {
    auto *panel = static_cast<float *>(scratch);
    constexpr int64_t kHeight = kPanel / kColumns;
    int64_t X = a.C + a.R, in = a.P + a.R;
    for (int64_t t = from; t < to; t++) {
        float *q = a.q + (t * a.H + h) * X;
        __builtin_memset(q, 0, static_cast<size_t>(a.C) * sizeof(float));
        rotate(q + a.C, a.q_in + (t * a.H + h) * in + a.P, a.rope, a.position[t]);
    }
    with_format(a.kv_b.format, [&](auto format) {
        using Format = decltype(format);
        int64_t c = 0;
        if (to - from == 1) {
            float *q = a.q + (from * a.H + h) * X;
            const float *x = a.q_in + (from * a.H + h) * in;
            if constexpr (kInteger<Format>)
                c = add_groups<Format>(q, x, a.kv_b, h * (a.P + a.U), a.P, a.U);
            else
                return add_all<Format>(q, x, a.kv_b, h * (a.P + a.U), a.P);
        }
        for (; c < a.C; c += kColumns) {
            int64_t columns = a.C - c < kColumns ? a.C - c : kColumns;
            for (int64_t p = 0; p < a.P; p += kHeight) {
                int64_t rows = a.P - p < kHeight ? a.P - p : kHeight;
                for (int64_t i = 0; i < rows; i++) {
                    ask_columns<Format>(a.kv_b, h * (a.P + a.U) + p + i + kRows, c, c + columns);
                    decode<Format>(panel + i * kColumns, a.kv_b, h * (a.P + a.U) + p + i, c, c + columns);
                }
                each_row_tile(to - from, [&](auto count, int64_t r) {
                    int64_t row = (from + r) * a.H + h;
                    add_weighted<decltype(count)::kValue>(a.q + row * X + c, a.H * X, a.q_in + row * in + p, a.H * in,
                                                          panel, kColumns, rows, columns);
                });
            }
        }
    });
}

}  // namespace panamoe::PANAMOE_ISA
