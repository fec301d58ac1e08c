// mla_expanded: keys and values of a head from the latent rows, then attention with them.
//
// Bound by arithmetic: 2 * (P + U) * C operations expand a position for a head, and 2 * (P + R + U) are a row's at each
// position that it sees. A piece is one head x the rows of one request. It goes through the positions in blocks that
// begin at fixed places: a block is expanded once, which decodes the head's weights once, and used for all rows, a
// group of them at a time, whose scores stay in the first cache. All products are of add_product's form, its lanes over
// weights, positions, values: weights and keys are turned for it, so no sum is taken across lanes. What a row gives
// depends on its position alone: blocks, and the order of each sum, are the same whatever rows are beside it.
#include "softmax.hpp"
#include "tiles.hpp"

namespace panamoe::PANAMOE_ISA {
namespace {

constexpr int64_t kPositions = kExpandedPositions;
constexpr int64_t kPanel = 128;  // latent columns of decoded weights
constexpr int64_t kOutputs = 64, kOutputStride = kOutputs + 16;
constexpr int64_t kGroupRows = 24;  // a multiple of every tile

struct Scratch {
    alignas(64) float decoded[LANES][kPanel];
    float weight[kPanel][kOutputStride];        // [c][f]
    float expanded[kPositions][kOutputStride];  // [s][f], on its way into keys
    float score[kGroupRows][kKeyStride];        // then shares
    RunningSoftmax softmax[kExpandedRows];
};
static_assert(sizeof(Scratch) <= 256 * 1024 && kPanel % LANES == 0 && kOutputs % LANES == 0);

int64_t least(int64_t a, int64_t b) { return a < b ? a : b; }
int64_t whole_vectors(int64_t n) { return (n + LANES - 1) / LANES * LANES; }

// The first rows of to become the columns of LANES rows, which row(i) loads.
template <class Row>
PANAMOE_INLINE void store_turned(float *to, int64_t stride, int64_t rows, Row row) {
    IntVec v[LANES];
#pragma GCC unroll 16
    for (int64_t i = 0; i < LANES; i++) v[i] = bits<IntVec>(row(i));
    transpose(v);
    if (rows >= LANES) {
#pragma GCC unroll 16
        for (int64_t i = 0; i < LANES; i++) store(to + i * stride, bits<Vec>(v[i]));
    } else {
        for (int64_t i = 0; i < rows; i++) store(to + i * stride, bits<Vec>(v[i]));
    }
}

// n positions of a request, from first on.
struct Block {
    const float *pages;
    const int32_t *table;
    int64_t X, B, first, n;

    const float *row(int64_t s) const {
        int64_t position = first + s;
        return pages + (table[position / B] * B + position % B) * X;
    }
};

// weight[c][f] = columns [c, c + n) of rows [f, f + outputs) of w; zeros up to whole vectors.
template <class Format>
void decode_turned(Scratch &scratch, const Matrix &w, int64_t f, int64_t outputs, int64_t c, int64_t n) {
    for (int64_t o = 0; o < outputs; o += LANES) {
        int64_t rows = least(LANES, outputs - o);
        for (int64_t i = 0; i < rows; i++) decode<Format>(scratch.decoded[i], w, f + o + i, c, c + n);
        for (int64_t i = 0; i < n; i += LANES)
            store_turned(scratch.weight[i] + o, kOutputStride, LANES,
                         [&](int64_t r) { return r < rows ? load(scratch.decoded[r] + i) : Vec{}; });
    }
}

// y[s][o] = rows f + o of w times the latent of position s.
void expand(Scratch &scratch, float *y, int64_t stride, const Block &block, const Matrix &w, int64_t f,
            int64_t outputs) {
    int64_t columns = whole_vectors(outputs);
    for (int64_t s = 0; s < block.n; s++)
        __builtin_memset(y + s * stride, 0, static_cast<size_t>(columns) * sizeof(float));
    with_format(w.format, [&](auto format) {
        for (int64_t c = 0; c < w.D; c += kPanel) {
            int64_t depth = least(kPanel, w.D - c);
            decode_turned<decltype(format)>(scratch, w, f, outputs, c, depth);
            for (int64_t s = 0, rows; s < block.n; s += rows) {
                rows = least(block.B - (block.first + s) % block.B, block.n - s);
                add_product(y + s * stride, stride, block.row(s) + c, block.X, scratch.weight[0], kOutputStride, rows,
                            depth, columns);
            }
        }
    });
}

void expand_keys(Scratch &scratch, float *key, const MlaExpanded &a, const Block &block, int64_t w_row) {
    for (int64_t p = 0; p < a.P; p += kOutputs) {
        int64_t outputs = least(kOutputs, a.P - p);
        expand(scratch, scratch.expanded[0], kOutputStride, block, a.kv_b, w_row + p, outputs);
        for (int64_t s = 0; s < block.n; s += LANES)
            for (int64_t o = 0; o < outputs; o += LANES)
                store_turned(key + (p + o) * kKeyStride + s, kKeyStride, outputs - o,
                             [&](int64_t i) { return s + i < block.n ? load(scratch.expanded[s + i] + o) : Vec{}; });
    }
    for (int64_t s = 0; s < block.n; s += LANES)
        for (int64_t r = 0; r < a.R; r += LANES)
            store_turned(key + (a.P + r) * kKeyStride + s, kKeyStride, a.R - r, [&](int64_t i) {
                if (s + i >= block.n) return Vec{};
                const float *from = block.row(s + i) + a.C + r;
                return a.R - r < LANES ? load(from, a.R - r) : load(from);
            });
}

void expand_values(Scratch &scratch, float *value, int64_t stride, const MlaExpanded &a, const Block &block,
                   int64_t w_row) {
    for (int64_t u = 0; u < a.U; u += kOutputs)
        expand(scratch, value + u, stride, block, a.kv_b, w_row + u, least(kOutputs, a.U - u));
}

// Rows of a piece that take a block together; row i sees seen[i] of its positions.
struct Group {
    const float *q;
    float *o;
    RunningSoftmax *softmax;
    int64_t rows;
    int64_t seen[kGroupRows];
};

void attend(Scratch &scratch, const MlaExpanded &a, const ExpandedMemory &m, const Group &g) {
    int64_t most = 0, all = kPositions, columns = whole_vectors(a.U);
    for (int64_t i = 0; i < g.rows; i++) {
        if (g.seen[i] > most) most = g.seen[i];
        all = least(all, g.seen[i]);
    }
    if (most == 0) return;
    int64_t positions = whole_vectors(most);
    for (int64_t i = 0; i < g.rows; i++)
        __builtin_memset(scratch.score[i], 0, static_cast<size_t>(positions) * sizeof(float));
    add_product(scratch.score[0], kKeyStride, g.q, m.q_stride, m.key, kKeyStride, g.rows, a.P + a.R, positions);
    for (int64_t i = 0; i < g.rows; i++) {
        if (g.seen[i] == 0) continue;
        g.softmax[i].add(scratch.score[i], g.seen[i]);
        float *o = g.o + i * m.o_stride;
        for (int64_t u = 0; u < columns; u += LANES) store(o + u, load(o + u) * g.softmax[i].shrink);
    }
    add_product(g.o, m.o_stride, scratch.score[0], kKeyStride, m.value, m.o_stride, g.rows, all, columns);
    // What not all see, those who see it: 0 times what others do not is NaN where that is.
    for (int64_t i = 0; i < g.rows; i++)
        if (g.seen[i] > all)
            add_product(g.o + i * m.o_stride, m.o_stride, scratch.score[i] + all, kKeyStride,
                        m.value + all * m.o_stride, m.o_stride, 1, g.seen[i] - all, columns);
}

}  // namespace

void mla_expanded(const MlaExpanded &a, int64_t h, int64_t from, int64_t to, void *memory, const ExpandedMemory &m) {
    Scratch &scratch = *static_cast<Scratch *>(memory);
    int64_t positions = 0, columns = whole_vectors(a.U), w_row = h * (a.P + a.U);
    for (int64_t t = from; t < to; t++) {
        float *q = m.q + (t - from) * m.q_stride;
        const float *in = a.q + (t * a.H + h) * (a.P + a.R);
        for (int64_t p = 0; p < a.P; p++) q[p] = in[p] * a.scale;
        rotate(q + a.P, in + a.P, a.rope, a.position[t]);
        for (int64_t r = 0; r < a.R; r++) q[a.P + r] *= a.scale;
        __builtin_memset(m.o + (t - from) * m.o_stride, 0, static_cast<size_t>(columns) * sizeof(float));
        scratch.softmax[t - from].start();
        if (a.position[t] >= positions) positions = a.position[t] + int64_t{1};
    }
    for (int64_t first = 0; first < positions; first += kPositions) {
        Block block{a.pages, a.table + a.request[from] * a.M,     a.C + a.R, a.B,
                    first,   least(kPositions, positions - first)};
        expand_keys(scratch, m.key, a, block, w_row);
        expand_values(scratch, m.value, m.o_stride, a, block, w_row + a.P);
        for (int64_t t = from; t < to; t += kGroupRows) {
            Group group{m.q + (t - from) * m.q_stride,
                        m.o + (t - from) * m.o_stride,
                        scratch.softmax + (t - from),
                        least(kGroupRows, to - t),
                        {}};
            for (int64_t i = 0; i < group.rows; i++) {
                int64_t seen = a.position[t + i] + int64_t{1} - first;
                group.seen[i] = seen < 0 ? 0 : least(seen, block.n);
            }
            attend(scratch, a, m, group);
        }
    }
    for (int64_t t = from; t < to; t++) {
        float *o = a.o + (t * a.H + h) * a.U;
        for (int64_t u = 0; u < a.U; u++) o[u] = m.o[(t - from) * m.o_stride + u] / scratch.softmax[t - from].total;
    }
}

}  // namespace panamoe::PANAMOE_ISA
