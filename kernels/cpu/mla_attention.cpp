// mla_attention: o = softmax(scale * q . row_s) * row_s[0..C) over the rows s = 0 .. position of a request.
//
// One row of q: bound by memory with few heads, (position + 1) * X floats pass for each group of heads. With many heads
// bound by arithmetic: 2 * (X + C) operations for each head and cached row. A piece is one row of q x up to
// kAttentionHeads heads, which share every load of the cache. Pages are taken in order, in chunks of at most kChunk
// rows that start at fixed places of a page, with a running maximum and sum for each head: the order of all sums
// depends on the position alone.
#include "tiles.hpp"

namespace panamoe::PANAMOE_ISA {
namespace {

constexpr int64_t kChunk = 64;

struct Chunk {
    alignas(64) float score[kAttentionHeads][kChunk];
};
static_assert(sizeof(Chunk) <= 256 * 1024 && kChunk % LANES == 0);

// score[g][s] = scale * q[g] . rows[s]
void score(Chunk &chunk, const float *q, const float *rows, int64_t heads, int64_t n, int64_t X, float scale) {
    auto tile = [&](auto head_count, auto row_count, int64_t g, int64_t s) {
        constexpr int kHeads = decltype(head_count)::kValue, kRows = decltype(row_count)::kValue;
        Vec acc[kHeads][kRows] = {};
        multiply(acc, q + g * X, X, reinterpret_cast<const Byte *>(rows + s * X), X * 4, F32{}, X);
        for (int i = 0; i < kHeads; i++)
            for (int j = 0; j < kRows; j++) chunk.score[g + i][s + j] = scale * sum(acc[i][j]);
    };
    each_row_tile(heads, [&](auto count, int64_t g) {
        int64_t s = 0;
        for (; s + kTileOutputs <= n; s += kTileOutputs) tile(count, Count<kTileOutputs>{}, g, s);
        for (; s < n; s++) tile(count, Count<1>{}, g, s);
    });
}

constexpr float kNone = -__builtin_inff();

}  // namespace

void mla_attention(const MlaAttention &a, int64_t t, int64_t from, int64_t to, void *scratch) {
    Chunk &chunk = *static_cast<Chunk *>(scratch);
    int64_t X = a.C + a.R, heads = to - from;
    const float *q = a.q + (t * a.H + from) * X;
    float *o = a.o + (t * a.H + from) * a.C;
    const int32_t *table = a.table + a.request[t] * a.M;
    float most[kAttentionHeads], total[kAttentionHeads];
    for (int64_t g = 0; g < heads; g++) {
        most[g] = kNone;
        total[g] = 0.0f;
    }
    __builtin_memset(o, 0, static_cast<size_t>(heads * a.C) * sizeof(float));

    int64_t positions = a.position[t] + int64_t{1};
    for (int64_t s = 0; s < positions;) {
        int64_t in_page = s % a.B;
        int64_t n = a.B - in_page < kChunk ? a.B - in_page : kChunk;
        if (positions - s < n) n = positions - s;
        const float *rows = a.pages + (table[s / a.B] * a.B + in_page) * X;
        score(chunk, q, rows, heads, n, X, a.scale);
        for (int64_t g = 0; g < heads; g++) {
            float *score = chunk.score[g];
            float before = most[g];
            for (int64_t i = 0; i < n; i++)
                if (score[i] > most[g]) most[g] = score[i];
            // Where every score so far is -inf, -inf - -inf would be NaN: their shares are 0.
            float base = most[g] == kNone ? 0.0f : most[g];
            Vec sums{};
            for (int64_t i = 0; i < n; i += LANES) {
                Vec share = n - i < LANES ? exp(load(score + i, n - i) - base) : exp(load(score + i) - base);
                store(score + i, share);
                if (n - i < LANES) share = load(score + i, n - i);
                sums += share;
            }
            float shrink = exp(broadcast(before - base))[0];
            total[g] = total[g] * shrink + sum(sums);
            float *row = o + g * a.C;
            int64_t c = 0;
            for (; c + LANES <= a.C; c += LANES) store(row + c, load(row + c) * shrink);
            for (; c < a.C; c++) row[c] *= shrink;
        }
        each_row_tile(heads, [&](auto count, int64_t g) {
            add_weighted<decltype(count)::kValue>(o + g * a.C, a.C, chunk.score[g], kChunk, rows, X, n, a.C);
        });
        s += n;
    }
    for (int64_t g = 0; g < heads; g++)
        for (int64_t c = 0; c < a.C; c++) o[g * a.C + c] /= total[g];
}

}  // namespace panamoe::PANAMOE_ISA
