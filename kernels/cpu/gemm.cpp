// gemm and grouped_gemm, but for the integer formats, and mla_output: y[t][f] = sum over d of w[f][d] * x[t][d].
//
// Few rows: bound by memory, F * D weights pass once; each weight vector is decoded in registers for a tile of rows,
// and the next tile finds it in the cache. Many rows: bound by arithmetic, 2 * T * F * D operations; where decoding for
// each tile costs more, a panel of kPanelOutputs x kPanel weights is decoded once into the cache and used for up to
// kGemmRows rows, tile by tile, and partial sums wait in memory between panels. Either way an output has one
// accumulator vector, lane l sums d = l, l + LANES, ... in ascending order, and the lanes are added by one tree: same
// bits. A piece is a block of rows x a block of outputs; pieces share nothing.
#include "tiles.hpp"

namespace panamoe::PANAMOE_ISA {
namespace {

// Rows up to which each tile of them decodes for itself. BF16: any number, a shift costs less than what panels ask of
// the cache. F32 needs no decoding, but twice as much of the cache. The integer formats, decoded for mla_output, have
// stream_groups for one row.
template <class Format>
constexpr int64_t kStreamRows = 0;
template <>
constexpr int64_t kStreamRows<Bf16> = kGemmRows;
template <>
constexpr int64_t kStreamRows<F32> = int64_t{3} * kTileRows;
template <>
constexpr int64_t kStreamRows<F8E4M3Block128> = LANES == 16 ? 10 : 8;

constexpr int64_t kStreamOutputs = 24;  // whose weights, of a model's width, stay in the second cache for the next tile
constexpr int64_t kStep = 128;

// Columns of a panel, a multiple of every block edge. A panel lies in the first cache, beside the rows of a tile.
constexpr int64_t kPanel = 512, kPanelOutputs = 12, kRowsAhead = 8;

struct Panel {
    alignas(64) float w[kPanelOutputs][kPanel];
    Vec sums[kGemmRows][kPanelOutputs];
};
static_assert(sizeof(Panel) <= 256 * 1024 && kPanelOutputs % kTileOutputs == 0 && kGemmOutputs % kPanelOutputs == 0 &&
              kPanel % LANES == 0);

// Asks for the kStep bytes of each row that this tile reads kAhead bytes later; at the end of its rows for the
// beginning of the next tile's. An address beyond the matrix does no harm. The processor does not see by itself that
// several rows are walked side by side, and decoding FP8 takes so many instructions that its window does not reach far
// ahead. The second cache has room for what is asked for earlier.
template <int OUTPUTS, Cache CACHE>
PANAMOE_INLINE void ask_ahead(const Byte *w, int64_t stride, int64_t at) {
    constexpr int64_t kAhead = CACHE == Cache::kSecond ? 2048 : 1024;
    const Byte *later = w + kAhead + (at + kAhead < stride ? 0 : (OUTPUTS - 1) * stride);
#pragma GCC unroll 8
    for (int o = 0; o < OUTPUTS; o++)
#pragma GCC unroll 8
        for (int line = 0; line < kStep; line += 64) prefetch<CACHE>(later + o * stride + line);
}

template <class Format, int ROWS, int OUTPUTS>
void stream_tile(const Gemm &g, int64_t row, int64_t f) {
    Vec acc[ROWS][OUTPUTS] = {};
    int64_t stride = Format::bytes(g.w.D);
    const float *x = g.x + row * g.x_stride;
    bool once = g.T < kTileRows;  // of more rows, another tile may follow
    each_block<Format, OUTPUTS>(g.w, g.w_row + f, 0, g.w.D, [&](auto reader, int64_t d, int64_t n) {
        constexpr int64_t step = kStep / Format::bytes(1);
        static_assert(Format::kBlock == 0 || Format::kBlock == step);
        const Byte *w = weights<Format>(g.w, g.w_row + f, d);
        int64_t at = 0;
        for (; at + step <= n; at += step) {
            const Byte *here = w + Format::bytes(at);
            if (!g.w.near)
                ask_ahead<OUTPUTS, Cache::kSecond>(here, stride, Format::bytes(d + at));
            else if (once)
                ask_ahead<OUTPUTS, Cache::kFirst>(here, stride, Format::bytes(d + at));
            else
                ask_ahead<OUTPUTS, Cache::kAll>(here, stride, Format::bytes(d + at));
            multiply(acc, x + d + at, g.x_stride, here, stride, reader, step);
        }
        if (at < n) [[unlikely]]
            multiply_rest(acc, x + d + at, g.x_stride, w + Format::bytes(at), stride, reader, n - at);
    });
    for (int r = 0; r < ROWS; r++)
        for (int o = 0; o < OUTPUTS; o++) g.y[(row + r) * g.y_stride + f + o] = sum(acc[r][o]);
}

// On its own, or GCC spills the sums of more rows elsewhere.
template <class Format, int OUTPUTS>
[[gnu::noinline]] PANAMOE_NOCLONE void stream_row(const Gemm &g, int64_t row, int64_t f) {
    stream_tile<typename OneRow<Format>::Type, 1, OUTPUTS>(g, row, f);
}

template <class Format, int ROWS>
void stream(const Gemm &g, int64_t row, int64_t from, int64_t to) {
    constexpr int kOutputs = ROWS > 2 ? kTileOutputs : ROWS == 1 ? 8 : 4;
    for (int64_t f = from; f < to;) {
        int64_t most = to - f < kOutputs ? to - f : kOutputs;
        if (rows_alike<Format>(g.w_row + f, most) == kOutputs) {
            if constexpr (ROWS == 1)
                stream_row<Format, kOutputs>(g, row, f);
            else
                stream_tile<Format, ROWS, kOutputs>(g, row, f);
            f += kOutputs;
        } else {
            stream_tile<Format, ROWS, 1>(g, row, f);
            f++;
        }
    }
}

// One row by a format whose rows have scales of their own, one for each group: outputs [from, to).
template <class Format>
void stream_groups(const Gemm &g, int64_t from, int64_t to) {
    constexpr int kOutputs = 8;
    using Reader = typename Format::Reader;
    int64_t stride = Format::bytes(g.w.D), scale_stride = QuantizedRow::groups(g.w.D) * kGroupScaleBytes;
    int64_t whole = g.w.D / kGroup * kGroup;
    auto tile = [&](auto outputs, int64_t f) {
        constexpr int kCount = decltype(outputs)::kValue;
        const Byte *w = weights<Format>(g.w, g.w_row + f, 0), *scales = g.w.scale + (g.w_row + f) * scale_stride;
        Vec acc[kCount] = {};
        for (int64_t d = 0; d < whole; d += kGroup) {
            if (Format::bytes(d) % 64 == 0)
#pragma GCC unroll 8
                for (int o = 0; o < kCount; o++) prefetch(g.w.near, w + (o + kRowsAhead) * stride + Format::bytes(d));
            if (d / kGroup < kCount) prefetch(g.w.near, scales + (d / kGroup + kRowsAhead) * scale_stride);
            GroupVecs x;
            __builtin_memcpy(x, g.x + d, sizeof x);
#pragma GCC unroll 8
            for (int o = 0; o < kCount; o++) {
                GroupVecs weight;
                Reader{broadcast(Format::scale(scales + o * scale_stride + d / kGroup * kGroupScaleBytes))}.read_group(
                    weight, w + o * stride + Format::bytes(d));
#pragma GCC unroll 8
                for (int64_t i = 0; i < kGroup / LANES; i++) acc[o] = fma(x[i], weight[i], acc[o]);
            }
        }
        for (int o = 0; o < kCount; o++) {
            if (whole < g.w.D) [[unlikely]] {
                Vec rest = acc[o];
                Reader reader{broadcast(Format::scale(scales + (o + 1) * scale_stride - kGroupScaleBytes))};
                multiply_slowly(&rest, 1, 1, g.x + whole, 0, w + o * stride + Format::bytes(whole), 0, reader,
                                g.w.D - whole);
                acc[o] = rest;
            }
            g.y[f + o] = sum(acc[o]);
        }
    };
    for (; from + kOutputs <= to; from += kOutputs) tile(Count<kOutputs>{}, from);
    for (; from < to; from++) tile(Count<1>{}, from);
}

// Multiplies all rows by the panel of columns [d, d + n).
template <bool FIRST>
PANAMOE_INLINE void multiply_panel(const Gemm &g, Panel &panel, int64_t outputs, int64_t d, int64_t n) {
    each_row_tile(g.T, [&](auto rows, int64_t r) {
        constexpr int kRows = decltype(rows)::kValue;
        for (int64_t o = 0; o < outputs; o += kTileOutputs) {
            Vec acc[kRows][kTileOutputs] = {};
            if constexpr (!FIRST)
                for (int i = 0; i < kRows; i++)
                    for (int j = 0; j < kTileOutputs; j++) acc[i][j] = panel.sums[r + i][o + j];
            multiply(acc, g.x + r * g.x_stride + d, g.x_stride, reinterpret_cast<const Byte *>(panel.w[o]), kPanel * 4,
                     F32{}, n);
            for (int i = 0; i < kRows; i++)
                for (int j = 0; j < kTileOutputs; j++) panel.sums[r + i][o + j] = acc[i][j];
        }
    });
}

template <class Format>
void reuse(const Gemm &g, int64_t from, int64_t to, Panel &panel) {
    int64_t outputs = to - from;
    int64_t rounded = (outputs + kTileOutputs - 1) / kTileOutputs * kTileOutputs;
    __builtin_memset(panel.w[outputs], 0, static_cast<size_t>(rounded - outputs) * sizeof panel.w[0]);
    for (int64_t d = 0; d < g.w.D; d += kPanel) {
        int64_t n = g.w.D - d < kPanel ? g.w.D - d : kPanel;
        for (int64_t o = 0; o < outputs; o++) {
            // Later rows of this panel are asked for, then the first of the next: of later columns, or later outputs.
            int64_t row = g.w_row + from + o, later = o + kRowsAhead;
            if (later < outputs || d + kPanel >= g.w.D)
                ask_columns<Format>(g.w, row + kRowsAhead, later < outputs ? d : 0, later < outputs ? d + n : kPanel);
            else
                ask_columns<Format>(g.w, row + kRowsAhead - outputs, d + kPanel, d + 2 * kPanel);
            decode<Format>(panel.w[o], g.w, row, d, d + n);
        }
        if (d == 0)
            multiply_panel<true>(g, panel, rounded, d, n);
        else
            multiply_panel<false>(g, panel, rounded, d, n);
    }
    for (int64_t r = 0; r < g.T; r++) {
        float y_O[kPanelOutputs];
        sum_each(panel.sums[r], y_O);
        __builtin_memcpy(g.y + r * g.y_stride + from, y_O, static_cast<size_t>(outputs) * sizeof(float));
    }
}

}  // namespace

void gemm(const Gemm &g, int64_t from, int64_t to, void *scratch) {
    with_format(g.w.format, [&](auto format) {
        using Format = decltype(format);
        constexpr int64_t kFew = kStreamRows<Format>;
        if constexpr (kInteger<Format>) {
            if (g.T == 1) return stream_groups<Format>(g, from, to);
        }
        if constexpr (kFew > 0) {
            if (g.T <= kFew) {
                // As few tiles as there must be, all alike.
                int64_t tiles = (g.T + kTileRows - 1) / kTileRows, rows = (g.T + tiles - 1) / tiles;
                for (int64_t f = from; f < to; f += kStreamOutputs)
                    for (int64_t row = 0; row < g.T; row += rows)
                        each_tile<kTileRows>(
                            row + rows < g.T ? row + rows : g.T,
                            [&](auto count, int64_t r) {
                                stream<Format, decltype(count)::kValue>(
                                    g, r, f, to - f < kStreamOutputs ? to : f + kStreamOutputs);
                            },
                            row);
                return;
            }
        }
        if constexpr (kFew < kGemmRows)
            for (int64_t f = from; f < to; f += kPanelOutputs)
                reuse<Format>(g, f, to - f < kPanelOutputs ? to : f + kPanelOutputs, *static_cast<Panel *>(scratch));
    });
}

}  // namespace panamoe::PANAMOE_ISA
