// mla_attention: o = softmax(scale * q . row_s) * row_s[0..C) over the rows s = 0 .. position of a request.
//
// Few heads: bound by memory, (position + 1) * X floats pass for each piece. Many heads: bound by arithmetic, 2 * (X +
// C) operations for each head and cached row. A piece is one row of q x up to kAttentionHeads heads, which share every
// load of the cache. Pages are taken in order, in chunks of at most kChunk rows that start at fixed places of a page,
// with a running maximum and sum for each head: the order of all sums depends on the position alone. A chunk stays in
// the second cache; a tile's heads or columns of it in the first one.
#include "softmax.hpp"
#include "tiles.hpp"

namespace panamoe::PANAMOE_ISA {
namespace {

constexpr int64_t kChunk = 64;

struct Scratch {
    alignas(64) float score[kAttentionHeads][kChunk];  // then shares
    RunningSoftmax softmax[kAttentionHeads];
};
static_assert(sizeof(Scratch) <= 256 * 1024 && kChunk % LANES == 0);

// The heads of a piece and the rows of a chunk.
struct Chunk {
    const float *q;     // heads of X
    float *o;           // heads of C
    const float *rows;  // n of X
    int64_t heads, n, X, C;
    float scale;
    bool first;  // nothing is in o yet
};

// score[g][s] = scale * q[g] . rows[s]
void score(Scratch &scratch, const Chunk &k) {
    each_row_tile(k.heads, [&](auto head_count, int64_t g) {
        constexpr int kHeads = decltype(head_count)::kValue;
        auto tile = [&](auto row_count, int64_t s) {
            constexpr int kRows = decltype(row_count)::kValue;
            Vec acc[kHeads][kRows] = {};
            multiply(acc, k.q + g * k.X, k.X, reinterpret_cast<const Byte *>(k.rows + s * k.X), k.X * 4, F32{}, k.X);
            for (int i = 0; i < kHeads; i++) {
                float sums[kRows];
                sum_each(acc[i], sums);
                for (int j = 0; j < kRows; j++) scratch.score[g + i][s + j] = k.scale * sums[j];
            }
        };
        int64_t s = 0;
        for (; s + kTileOutputs <= k.n; s += kTileOutputs) tile(Count<kTileOutputs>{}, s);
        for (; s < k.n; s++) tile(Count<1>{}, s);
    });
}

// o[g][c] = o[g][c] * shrink[g] + sum over i of share[g][i] * rows[i][c], i ascending, for VECS vectors of columns from
// c on, or the tail columns that are less than one.
template <int HEADS, int VECS>
PANAMOE_INLINE void add_values(const Scratch &scratch, const Chunk &k, int64_t g, int64_t c, int64_t tail) {
    Vec acc[HEADS][VECS];
    auto each = [](auto body) {
#pragma GCC unroll 8
        for (int h = 0; h < HEADS; h++)
#pragma GCC unroll 8
            for (int v = 0; v < VECS; v++) body(h, v);
    };
    each([&](int h, int v) {
        const float *from = k.o + (g + h) * k.C + c + v * LANES;
        acc[h][v] = k.first ? Vec{} : (tail == 0 ? load(from) : load(from, tail)) * scratch.softmax[g + h].shrink;
    });
    for (int64_t i = 0; i < k.n; i++) {
        const float *row = k.rows + i * k.X + c;
        Vec values[VECS];
#pragma GCC unroll 8
        for (int v = 0; v < VECS; v++) values[v] = tail == 0 ? load(row + v * LANES) : load(row, tail);
#pragma GCC unroll 8
        for (int h = 0; h < HEADS; h++) {
            Vec share = broadcast(scratch.score[g + h][i]);
#pragma GCC unroll 8
            for (int v = 0; v < VECS; v++) acc[h][v] = fma(share, values[v], acc[h][v]);
        }
    }
    each([&](int h, int v) {
        float *to = k.o + (g + h) * k.C + c + v * LANES;
        if (tail == 0)
            store(to, acc[h][v]);
        else
            store(to, acc[h][v], tail);
    });
}

// Columns outside, heads inside: a strip of the chunk's columns is used for all heads.
void add_values(const Scratch &scratch, const Chunk &k) {
    constexpr int kVecs = kTileOutputs == 4 ? 4 : 2;  // beside them, the registers hold an accumulator for each head
    auto strip = [&](auto vecs, int64_t c, int64_t tail) {
        each_row_tile(k.heads, [&](auto heads, int64_t g) {
            add_values<decltype(heads)::kValue, decltype(vecs)::kValue>(scratch, k, g, c, tail);
        });
    };
    int64_t c = 0;
    for (; c + kVecs * LANES <= k.C; c += kVecs * LANES) strip(Count<kVecs>{}, c, 0);
    for (; c + LANES <= k.C; c += LANES) strip(Count<1>{}, c, 0);
    if (c < k.C) strip(Count<1>{}, c, k.C - c);
}

}  // namespace

void mla_attention(const MlaAttention &a, int64_t t, int64_t from, int64_t to, void *memory) {
    Scratch &scratch = *static_cast<Scratch *>(memory);
    int64_t X = a.C + a.R, heads = to - from;
    float *o = a.o + (t * a.H + from) * a.C;
    const int32_t *table = a.table + a.request[t] * a.M;
    int64_t positions = a.position[t] + int64_t{1};
    for (int64_t g = 0; g < heads; g++) scratch.softmax[g].start();
    for (int64_t s = 0; s < positions;) {
        int64_t in_page = s % a.B;
        int64_t n = a.B - in_page < kChunk ? a.B - in_page : kChunk;
        if (positions - s < n) n = positions - s;
        Chunk chunk{a.q + (t * a.H + from) * X,
                    o,
                    a.pages + (table[s / a.B] * a.B + in_page) * X,
                    heads,
                    n,
                    X,
                    a.C,
                    a.scale,
                    s == 0};
        score(scratch, chunk);
        for (int64_t g = 0; g < heads; g++) scratch.softmax[g].add(scratch.score[g], n);
        add_values(scratch, chunk);
        s += n;
    }
    for (int64_t g = 0; g < heads; g++)
        for (int64_t c = 0; c < a.C; c++) o[g * a.C + c] /= scratch.softmax[g].total;
}

}  // namespace panamoe::PANAMOE_ISA
