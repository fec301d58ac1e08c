// The two inner loops that all matrix work is made of.
//
// Both keep every output in an accumulator of its own and add to it in ascending order, whatever the size of the tile:
// a row's result does not depend on how many rows or outputs were computed beside it.
#pragma once

#include "formats.hpp"

namespace panamoe::PANAMOE_ISA {
namespace {

// Rows and outputs of a tile: as many accumulators as the registers hold beside the operands.
#if PANAMOE_LANES == 16
constexpr int kTileRows = 6, kTileOutputs = 4;
#else
constexpr int kTileRows = 4, kTileOutputs = 3;
#endif

// multiply in few instructions instead of fast ones, for what is rare: acc is [rows][outputs].
template <class Reader>
[[gnu::noinline]] PANAMOE_NOCLONE void multiply_slowly(Vec *acc, int64_t rows, int64_t outputs, const float *x,
                                                       int64_t x_stride, const Byte *w, int64_t w_stride, Reader reader,
                                                       int64_t n) {
    for (int64_t k = 0; k < n; k += LANES) {
        int64_t left = n - k;
        for (int64_t o = 0; o < outputs; o++) {
            const Byte *from = w + o * w_stride + Reader::bytes(k);
            Vec weight = left < LANES ? read_tail(reader, from, left) : reader.read(from);
            for (int64_t r = 0; r < rows; r++) {
                const float *row = x + r * x_stride + k;
                Vec &sums = acc[r * outputs + o];
                sums = fma(left < LANES ? load(row, left) : load(row), weight, sums);
            }
        }
    }
}

template <int ROWS, int OUTPUTS, class Reader>
PANAMOE_INLINE void multiply_rest(Vec (&acc)[ROWS][OUTPUTS], const float *x, int64_t x_stride, const Byte *w,
                                  int64_t w_stride, Reader reader, int64_t n) {
    Vec spilled[ROWS][OUTPUTS];  // so that acc itself has no address and stays in registers
    for (int r = 0; r < ROWS; r++)
        for (int o = 0; o < OUTPUTS; o++) spilled[r][o] = acc[r][o];
    multiply_slowly(spilled[0], ROWS, OUTPUTS, x, x_stride, w, w_stride, reader, n);
    for (int r = 0; r < ROWS; r++)
        for (int o = 0; o < OUTPUTS; o++) acc[r][o] = spilled[r][o];
}

// acc[r][o] += x[r][k..] * w[o][k..] for k in [0, n): lane l of an accumulator sums the products of l, l + LANES, ...
template <int ROWS, int OUTPUTS, class Reader>
PANAMOE_INLINE void multiply(Vec (&acc)[ROWS][OUTPUTS], const float *x, int64_t x_stride, const Byte *w,
                             int64_t w_stride, Reader reader, int64_t n) {
    int64_t k = 0;
    if constexpr (!Reader::kRare) {
        const Byte *w_O[OUTPUTS];  // one register for each, or the compiler computes them again and again
#pragma GCC unroll 8
        for (int o = 0; o < OUTPUTS; o++) w_O[o] = w + o * w_stride;
        constexpr int kAtOnce = kVectors<Reader>;
        if constexpr (kAtOnce != 1) {
            for (; k + kAtOnce * LANES <= n; k += kAtOnce * LANES) {
#pragma GCC unroll 8
                for (int o = 0; o < OUTPUTS; o++) {
                    Vec weights[kAtOnce];
                    reader.read(weights, w_O[o] + Reader::bytes(k));
#pragma GCC unroll 8
                    for (int i = 0; i < kAtOnce; i++)
#pragma GCC unroll 8
                        for (int r = 0; r < ROWS; r++)
                            acc[r][o] = fma(load(x + r * x_stride + k + i * LANES), weights[i], acc[r][o]);
                }
            }
        }
        for (; k + LANES <= n; k += LANES) {
            Vec x_R[ROWS];
#pragma GCC unroll 8
            for (int r = 0; r < ROWS; r++) x_R[r] = load(x + r * x_stride + k);
#pragma GCC unroll 8
            for (int o = 0; o < OUTPUTS; o++) {
                Vec weight = reader.read(w_O[o] + Reader::bytes(k));
#pragma GCC unroll 8
                for (int r = 0; r < ROWS; r++) acc[r][o] = fma(x_R[r], weight, acc[r][o]);
            }
        }
    }
    if (k < n) [[unlikely]]
        multiply_rest(acc, x + k, x_stride, w + Reader::bytes(k), w_stride, reader, n - k);
}

// y[r][c] += sum over n of x[r][n] * w[n][c], n ascending, for c in [0, columns).
template <int ROWS, int VECS>
PANAMOE_INLINE void add_weighted_columns(float *y, int64_t y_stride, const float *x, int64_t x_stride, const float *w,
                                         int64_t w_stride, int64_t N, int64_t tail) {
    Vec acc[ROWS][VECS];
    auto each = [](auto body) {
#pragma GCC unroll 8
        for (int r = 0; r < ROWS; r++)
#pragma GCC unroll 8
            for (int v = 0; v < VECS; v++) body(r, v);
    };
    each([&](int r, int v) {
        float *from = y + r * y_stride + v * LANES;
        acc[r][v] = tail == 0 ? load(from) : load(from, tail);
    });
    for (int64_t n = 0; n < N; n++) {
        const float *row = w + n * w_stride;
        Vec w_V[VECS];
#pragma GCC unroll 8
        for (int v = 0; v < VECS; v++) w_V[v] = tail == 0 ? load(row + v * LANES) : load(row, tail);
#pragma GCC unroll 8
        for (int r = 0; r < ROWS; r++) {
            Vec share = broadcast(x[r * x_stride + n]);
#pragma GCC unroll 8
            for (int v = 0; v < VECS; v++) acc[r][v] = fma(share, w_V[v], acc[r][v]);
        }
    }
    each([&](int r, int v) {
        float *to = y + r * y_stride + v * LANES;
        if (tail == 0)
            store(to, acc[r][v]);
        else
            store(to, acc[r][v], tail);
    });
}

template <int ROWS>
void add_weighted(float *y, int64_t y_stride, const float *x, int64_t x_stride, const float *w, int64_t w_stride,
                  int64_t N, int64_t columns) {
    constexpr int kVecs = ROWS == 1 ? 8 : kTileRows * kTileOutputs * 2 / 3 / ROWS;
    int64_t c = 0;
    for (; c + kVecs * LANES <= columns; c += kVecs * LANES)
        add_weighted_columns<ROWS, kVecs>(y + c, y_stride, x, x_stride, w + c, w_stride, N, 0);
    for (; c + LANES <= columns; c += LANES)
        add_weighted_columns<ROWS, 1>(y + c, y_stride, x, x_stride, w + c, w_stride, N, 0);
    if (c < columns) add_weighted_columns<ROWS, 1>(y + c, y_stride, x, x_stride, w + c, w_stride, N, columns - c);
}

template <int N>
struct Count {
    static constexpr int kValue = N;
};

// Calls body(Count<n>, row) for tiles of at most MOST rows that cover [row, rows).
template <int MOST, class Body>
PANAMOE_INLINE void each_tile(int64_t rows, Body body, int64_t row = 0) {
    for (; row + MOST <= rows; row += MOST) body(Count<MOST>{}, row);
    if constexpr (MOST > 1) each_tile<MOST - 1>(rows, body, row);
}

template <class Body>
PANAMOE_INLINE void each_row_tile(int64_t rows, Body body) {
    each_tile<kTileRows>(rows, body);
}

// Rows of w that stay in the first cache, a strip of columns wide.
constexpr int64_t kProductDepth = 128;

// add_weighted for many rows, and columns that are a multiple of LANES: a strip of w's columns is used for all rows.
PANAMOE_INLINE void add_product(float *y, int64_t y_stride, const float *x, int64_t x_stride, const float *w,
                                int64_t w_stride, int64_t rows, int64_t N, int64_t columns) {
    constexpr int kVecs = kTileOutputs == 4 ? 4 : 2;  // beside them, the registers hold an accumulator for each row
    auto strip = [&](auto vecs, int64_t c) {
        for (int64_t n = 0; n < N; n += kProductDepth) {
            int64_t depth = N - n < kProductDepth ? N - n : kProductDepth;
            each_row_tile(rows, [&](auto count, int64_t r) {
                add_weighted_columns<decltype(count)::kValue, decltype(vecs)::kValue>(
                    y + r * y_stride + c, y_stride, x + r * x_stride + n, x_stride, w + n * w_stride + c, w_stride,
                    depth, 0);
            });
        }
    };
    int64_t c = 0;
    for (; c + kVecs * LANES <= columns; c += kVecs * LANES) strip(Count<kVecs>{}, c);
    for (; c < columns; c += LANES) strip(Count<1>{}, c);
}

// Turns Z neighbouring pairs (a, b) of x into (a cos - b sin, a sin + b cos).
PANAMOE_INLINE void rotate(float *y, const float *x, const Rope &rope, int64_t position) {
    const float *cos = rope.cos + position * rope.Z, *sin = rope.sin + position * rope.Z;
    for (int64_t z = 0; z < rope.Z; z++) {
        float a = x[2 * z], b = x[2 * z + 1];
        y[2 * z] = a * cos[z] - b * sin[z];
        y[2 * z + 1] = a * sin[z] + b * cos[z];
    }
}

}  // namespace
}  // namespace panamoe::PANAMOE_ISA
