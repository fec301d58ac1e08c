// mla_attention on the tensor cores of sm_90a: the latent cache in BF16, C = 512, R = 64, pages of 64 positions; q is
// rounded to bf16, sums are fp32. Wins everywhere; the plain path is for other shapes and older devices.
//
// Many heads: bound by the products, 2 * (X + C) operations for each head and cached row; up to 16 or so: by memory, X
// values for each cached row. An item of work is one tile of up to 64 heads of one row of q, and one span of its keys.
// A span's length depends on the row's position alone, and spans are added in ascending order: so a row's bits depend
// on nothing but the row. Three kernels:
//
//   prepare  checks the indices of each row, lists its items, and rounds q to bf16
//   attend   takes items from the list, one block for each multiprocessor
//   combine  adds the spans of the rows that have more than one
//
// The list is made on the device: the host knows the sizes of the call, not the positions.
//
// attend. A block of keys is a page: K, 64 positions x 576; its first 512 columns are the values, V. The sums O of a
// tile are 64 x 512 floats, half of all registers of a multiprocessor; so there is one block of two warpgroups, each
// with half of the columns: left and right. They walk the pages in pairs (the form is FlashMLA's "seesaw"). Left
// multiplies Q with the first page of the pair, right with the second; each turns its scores into shares P of the
// running maximum, and both need both:
//
//   left                                   right
//   P0 = share(Q K0)                       Q K1
//   shrink0 ----------------------------->
//   O = O shrink0 + P0 V0                  P1 = share(Q K1): the maximum may grow once more
//           <----------------------------- shrink1
//           <----------------------------- P1, in shared memory
//   P0 shrink1, in shared memory --------> O = O shrink0 shrink1 + P1 V1
//   O = O shrink1 + P1 V1                  O = O + P0 V0
//
// A half of a page (left: 4 tiles of 64 columns, right: 5, with the rope) is loaded by the warpgroup that was the last
// to read it, as soon as it has: the page two further on, so that loads go on under the products. This also orders what
// lies in shared memory: who waits for the next first page has waited for all products of right with P0, so P0 may be
// written again; P1 may, once shrink0 of the next pair is there.
#pragma once

#include <algorithm>
#include <cfloat>

#include "attention.cuh"
#include "cuda_context.hpp"

namespace panamoe::cuda::mla_sm90 {

constexpr int kRows = 64;  // heads of a tile
constexpr int kPage = 64;  // positions
constexpr int kLatent = 512, kRope = 64, kWidth = kLatent + kRope, kHalf = kLatent / 2;
constexpr int kColumns = 64;  // of a tile of bf16 in shared memory: 128 bytes, the span of the swizzle
constexpr int kTiles = kWidth / kColumns, kLeftTiles = kHalf / kColumns, kRightTiles = kTiles - kLeftTiles;
constexpr uint32_t kRowBytes = kColumns * 2, kTileBytes = 64 * kRowBytes;
constexpr unsigned kWarpgroup = 128, kBlock = 2 * kWarpgroup;

// ---- Work ----

// A span has kSpanPages pages, or twice that as often as it takes to have no more than kMostSpans of them.
constexpr int kSpanPages = 16, kMostSpans = 32;
__host__ __device__ constexpr int span_pages(int64_t pages) {
    int span = kSpanPages;
    while (ceil_div(pages, span) > kMostSpans) span *= 2;
    return span;
}
__host__ __device__ constexpr int spans_of(int64_t pages) {
    return static_cast<int>(ceil_div(pages, span_pages(pages)));
}

struct Item {
    int row, tile, span;
};

// A span's part of a row: the sum of its shares of the maximum.
struct SpanTotal {
    float most, total;  // most: in powers of 2
};

// What the kernels hand to each other, in scratch memory: for rows [from, from + rows) of the call, counted from 0.
struct Work {
    MlaAttention call;
    int64_t from;
    int rows;
    int tiles;         // of a row of q
    int spans;         // that any row may have
    uint16_t *q;       // bf16 [rows, H, kWidth]
    int *item_count;   // 0 before prepare
    Item *items;       // in no order
    int *span_count;   // of each row; 0: the row was refused
    float *part_o;     // [rows, tiles, spans, kRows, kLatent], where a row has several spans; not divided by the total
    SpanTotal *total;  // [rows, tiles, spans, kRows]

    __device__ int64_t part(int row, int tile, int span) const { return (int64_t{row} * tiles + tile) * spans + span; }
    __device__ float *result(int row, int64_t head) const { return call.o + ((from + row) * call.H + head) * kLatent; }
};

// A block for each row of q.
__global__ void __launch_bounds__(kThreads) mla_prepare(Work work) {
    const MlaAttention &a = work.call;
    const int row = static_cast<int>(blockIdx.x);
    const int64_t t = work.from + row;
    const int spans = accept_row(a, t) ? spans_of(a.position[t] / kPage + 1) : 0;
    if (threadIdx.x == 0) {
        work.span_count[row] = spans;
        int at = atomicAdd(work.item_count, spans * work.tiles);
        for (int tile = 0; tile < work.tiles; tile++)
            for (int span = 0; span < spans; span++) work.items[at++] = {row, tile, span};
    }
    if (spans == 0) return;
    const float *q = a.q + t * a.H * kWidth;
    uint32_t *pairs = reinterpret_cast<uint32_t *>(work.q + row * a.H * kWidth);
    for (int64_t i = threadIdx.x; i < a.H * kWidth / 2; i += blockDim.x)
        pairs[i] = float_to_bf16x2(q[2 * i], q[2 * i + 1]);
}

// ---- Shared memory and registers of a tile ----

struct Shared {
    unsigned char q[kTiles][kTileBytes];
    unsigned char k[2][kTiles][kTileBytes];
    unsigned char p0[kTileBytes];
    float most[kRows];       // of all scores so far, times scale_log2
    float shrink[2][kRows];  // by the pair's first, second page
    float total[2][kRows];   // what left, right has summed
    uint64_t q_full, k_full[2][2];

    // P1 takes the place of Q's last tile, which both warpgroups keep in registers.
    __device__ unsigned char *p(int page) { return page == 0 ? p0 : q[kTiles - 1]; }
};

#if PANAMOE_SM90

// A thread's place in fragments: register i of 64 x N holds row + 8 (i / 2 % 2), column + 8 (i / 4) + i % 2.
struct Place {
    int row, column;
    __device__ Place()
        : row(static_cast<int>(threadIdx.x % kWarpgroup / 32 * 16 + threadIdx.x % 32 / 4)),
          column(static_cast<int>(2 * (threadIdx.x % 4))) {}
};
__device__ __forceinline__ constexpr int half_of(int i) { return i / 2 % 2; }

// Where two neighbouring values of a swizzled tile lie.
__device__ __forceinline__ uint32_t *pair_in_tile(unsigned char *tile, int row, int column) {
    uint32_t at = static_cast<uint32_t>(row) * kRowBytes + static_cast<uint32_t>(column) * 2;
    return reinterpret_cast<uint32_t *>(tile + (at ^ (at / kRowBytes % 8 * 16)));
}

enum NamedBarrier : unsigned { kShrink0 = 1, kShrink1, kP0, kP1, kLeft, kRight };

// All threads of the warpgroup.
template <int SIDE>
__device__ __forceinline__ void sync_side() {
    named_barrier_sync(SIDE == 0 ? kLeft : kRight, kWarpgroup);
}

// ---- Loads ----

// The pages of one item: positions [0, limit) of a request are seen by its row.
struct Keys {
    const TensorMap *map;
    const int32_t *table;  // of the request
    int begin, end;        // pages
    int limit;             // positions from page 0 on

    // Positions of the page that are seen; 64 of all but the last.
    __device__ int seen(int page) const { return min(limit - page * kPage, kPage); }
};

// One thread loads half SIDE of a page to its place in the pair.
template <int SIDE>
__device__ __forceinline__ void load_half(Shared &smem, const Keys &keys, int page) {
    constexpr int kFrom = SIDE == 0 ? 0 : kLeftTiles, kTo = SIDE == 0 ? kLeftTiles : kTiles;
    int at = (page - keys.begin) % 2, id = __ldg(keys.table + page);
    uint64_t *full = &smem.k_full[at][SIDE];
    mbarrier_arrive_expect(full, (kTo - kFrom) * kTileBytes);
    for (int tile = kFrom; tile < kTo; tile++) tma_load(keys.map, full, smem.k[at][tile], tile * kColumns, 0, id);
}

// The half of page - 2 has been read by this warpgroup, the last to need it.
template <int SIDE>
__device__ __forceinline__ void refill(Shared &smem, const Keys &keys, int page) {
    if (page >= keys.end) return;
    sync_side<SIDE>();  // all its warps have
    if (threadIdx.x % kWarpgroup == 0) load_half<SIDE>(smem, keys, page);
}

// Positions that the row does not see may hold anything, NaN too: as values they become 0, by the warpgroup that will
// multiply its half. Both have read all scores of the page before.
template <int SIDE>
__device__ __forceinline__ void clear_unseen(Shared &smem, int at, int seen) {
    if (seen == kPage) return;
    constexpr int kPieces = kLeftTiles * static_cast<int>(kRowBytes / 16);  // of 16 bytes, in a row
    for (int i = static_cast<int>(threadIdx.x % kWarpgroup); i < (kPage - seen) * kPieces; i += kWarpgroup) {
        int row = seen + i / kPieces, tile = SIDE * kLeftTiles + i % kPieces / 8;
        *reinterpret_cast<uint4 *>(smem.k[at][tile] + static_cast<uint32_t>(row) * kRowBytes + i % 8 * 16) =
            make_uint4(0, 0, 0, 0);
    }
    fence_proxy_async();  // wgmma sees the zeros
    sync_side<SIDE>();    // of all threads
}

// ---- Products ----

__device__ __forceinline__ uint64_t k_major(const unsigned char *tile) {
    return matrix_descriptor(tile, Swizzle::bytes_128, 1024);
}

// The part of Q K that half SIDE of page AT of the pair makes.
template <int AT, int SIDE>
__device__ __forceinline__ void multiply_half(float (&scores)[32], Shared &smem, const uint32_t (&q8)[4][4]) {
    constexpr int kFrom = SIDE == 0 ? 0 : kLeftTiles, kTo = SIDE == 0 ? kLeftTiles : kTiles;
#pragma unroll
    for (int tile = kFrom; tile < kTo; tile++) {
        uint64_t q = k_major(smem.q[tile]), k = k_major(smem.k[AT][tile]);
#pragma unroll
        for (uint32_t step = 0; step < 4; step++) {
            const bool accumulate = SIDE != AT || tile > kFrom || step > 0;
            if (tile < kTiles - 1)
                wgmma_bf16<kPage>(scores, advance(q, 32 * step), advance(k, 32 * step), accumulate);
            else
                wgmma_bf16<kPage>(scores, q8[step], advance(k, 32 * step), accumulate);
        }
    }
}

// scores = Q K of page AT of the pair. The half that is refilled first goes first.
template <int AT>
__device__ __forceinline__ void multiply_scores(float (&scores)[32], Shared &smem, const uint32_t (&q8)[4][4],
                                                unsigned phase) {
    mbarrier_wait(&smem.k_full[AT][AT], phase);
    wgmma_fence(scores);
    multiply_half<AT, AT>(scores, smem, q8);
    mbarrier_wait(&smem.k_full[AT][1 - AT], phase);
    wgmma_fence();  // without it the compiler would put one into a branch of the wait, and serialise
    multiply_half<AT, 1 - AT>(scores, smem, q8);
    wgmma_commit();
    wgmma_wait<0>(scores);
}

// Descriptor of half SIDE of V, positions 16 step and following: columns lie contiguous.
template <int SIDE>
__device__ __forceinline__ uint64_t values_of(Shared &smem, int at, uint32_t step) {
    return advance(matrix_descriptor(smem.k[at][SIDE * kLeftTiles], Swizzle::bytes_128, 1024, kTileBytes),
                   step * 16 * kRowBytes);
}

// o += P V with this warpgroup's own shares, of its page. Not yet committed.
template <int SIDE>
__device__ __forceinline__ void multiply_own(float (&o)[128], const uint32_t (&p)[4][4], Shared &smem) {
#pragma unroll
    for (uint32_t step = 0; step < 4; step++)
        wgmma_bf16<kHalf, Major::mn>(o, p[step], values_of<SIDE>(smem, SIDE, step), true);
}

// o += P V with the other warpgroup's, in shared memory, of the other page.
template <int SIDE>
__device__ __forceinline__ void multiply_other(float (&o)[128], Shared &smem) {
    uint64_t p = k_major(smem.p(1 - SIDE));
#pragma unroll
    for (uint32_t step = 0; step < 4; step++)
        wgmma_bf16<kHalf, Major::k, Major::mn>(o, advance(p, 32 * step), values_of<SIDE>(smem, 1 - SIDE, step), true);
}

// ---- Softmax ----

// A row's scores become shares 2^(score * scale_log2 - most) of the maximum so far, and are added to sum, each thread
// its own. shrink: what all shares before, and the sum, now count for. A score that is NaN leaves the maximum alone and
// makes the row NaN.
template <int AT>
__device__ __forceinline__ void share(float (&scores)[32], float (&shrink)[2], float (&sum)[2], Shared &smem, int seen,
                                      float scale_log2) {
    const Place place;
#pragma unroll
    for (int half = 0; half < 2; half++) {
        const int row = place.row + 8 * half;
        float largest = -INFINITY;
#pragma unroll
        for (int i = 0; i < 32; i++) {
            if (half_of(i) != half) continue;
            if (place.column + 8 * (i / 4) + i % 2 >= seen) scores[i] = -INFINITY;
            largest = fmaxf(largest, scores[i]);
        }
        // The four lanes of a row.
        largest = fmaxf(largest, __shfl_xor_sync(kAllLanes, largest, 1));
        largest = fmaxf(largest, __shfl_xor_sync(kAllLanes, largest, 2));
        float before = smem.most[row], most = fmaxf(before, largest * scale_log2);
        shrink[half] = exp2f(before - most);
        __syncwarp();  // all four have read it
        if (threadIdx.x % 4 == 0) {
            smem.most[row] = most;
            smem.shrink[AT][row] = shrink[half];
        }
        float total = 0;
#pragma unroll
        for (int i = 0; i < 32; i++) {
            if (half_of(i) != half) continue;
            scores[i] = exp2f(fmaf(scores[i], scale_log2, -most));
            total += scores[i];
        }
        sum[half] = fmaf(sum[half], shrink[half], total);
    }
}

__device__ __forceinline__ void scale_rows(float (&values)[128], const float (&factor)[2]) {
#pragma unroll
    for (int i = 0; i < 128; i++) values[i] *= factor[half_of(i)];
}

// Shares as the A operand of a product.
__device__ __forceinline__ void pack(uint32_t (&p)[4][4], const float (&shares)[32]) {
#pragma unroll
    for (int step = 0; step < 4; step++)
#pragma unroll
        for (int i = 0; i < 4; i++) {
            int at = 8 * step + i / 2 * 4 + i % 2 * 2;
            p[step][i] = float_to_bf16x2(shares[at], shares[at + 1]);
        }
}

// The same into shared memory, for the other warpgroup.
__device__ __forceinline__ void store_shares(unsigned char *tile, const float (&shares)[32]) {
    const Place place;
#pragma unroll
    for (int i = 0; i < 32; i += 2)
        *pair_in_tile(tile, place.row + 8 * half_of(i), place.column + 8 * (i / 4)) =
            float_to_bf16x2(shares[i], shares[i + 1]);
    fence_proxy_async();  // wgmma of the other warpgroup reads it after the named barrier
}

// ---- The two warpgroups: o and the sums of shares of one item. phase: of the next load of their page to wait for ----

__device__ __forceinline__ void shrink_sum(float (&sum)[2], const float (&shrink)[2]) {
#pragma unroll
    for (int half = 0; half < 2; half++) sum[half] *= shrink[half];
}

__device__ __forceinline__ void read_shrink(float (&shrink)[2], const Shared &smem, int at) {
    const Place place;
#pragma unroll
    for (int half = 0; half < 2; half++) shrink[half] = smem.shrink[at][place.row + 8 * half];
}

__device__ __forceinline__ void attend_left(float (&o)[128], float (&sum)[2], Shared &smem, const uint32_t (&q8)[4][4],
                                            const Keys &keys, float scale_log2, unsigned &phase) {
    float scores[32], shrink[2];
    uint32_t p[4][4];
    int page = keys.begin;
#pragma unroll 1
    for (; page + 1 < keys.end; page += 2, phase ^= 1) {
        multiply_scores<0>(scores, smem, q8, phase);
        share<0>(scores, shrink, sum, smem, kPage, scale_log2);
        named_barrier_arrive(kShrink0, kBlock);
        scale_rows(o, shrink);
        pack(p, scores);
        wgmma_fence(o);
        multiply_own<0>(o, p, smem);
        wgmma_commit();

        named_barrier_sync(kShrink1, kBlock);
        read_shrink(shrink, smem, 1);
#pragma unroll
        for (int i = 0; i < 32; i++) scores[i] *= shrink[half_of(i)];
        store_shares(smem.p(0), scores);
        named_barrier_arrive(kP0, kBlock);
        shrink_sum(sum, shrink);

        wgmma_wait<0>(o);
        refill<0>(smem, keys, page + 2);
        scale_rows(o, shrink);
        named_barrier_sync(kP1, kBlock);
        clear_unseen<0>(smem, 1, keys.seen(page + 1));
        wgmma_fence(o);
        multiply_other<0>(o, smem);
        wgmma_commit();
        wgmma_wait<0>(o);
        refill<0>(smem, keys, page + 3);
    }
    if (page == keys.end) return;
    // One page is left. There is no P1 and no shrink1.
    multiply_scores<0>(scores, smem, q8, phase);
    phase ^= 1;
    share<0>(scores, shrink, sum, smem, keys.seen(page), scale_log2);
    named_barrier_arrive(kShrink0, kBlock);
    store_shares(smem.p(0), scores);
    named_barrier_arrive(kP0, kBlock);
    scale_rows(o, shrink);
    pack(p, scores);
    clear_unseen<0>(smem, 0, keys.seen(page));
    wgmma_fence(o);
    multiply_own<0>(o, p, smem);
    wgmma_commit();
    wgmma_wait<0>(o);
}

__device__ __forceinline__ void attend_right(float (&o)[128], float (&sum)[2], Shared &smem, const uint32_t (&q8)[4][4],
                                             const Keys &keys, float scale_log2, unsigned &phase) {
    float shrink[2];
    int page = keys.begin;
#pragma unroll 1
    for (; page + 1 < keys.end; page += 2, phase ^= 1) {
        float scores[32], shrink1[2];
        uint32_t p[4][4];
        multiply_scores<1>(scores, smem, q8, phase);
        named_barrier_sync(kShrink0, kBlock);
        read_shrink(shrink, smem, 0);
        shrink_sum(sum, shrink);
        share<1>(scores, shrink1, sum, smem, keys.seen(page + 1), scale_log2);
        named_barrier_arrive(kShrink1, kBlock);
        store_shares(smem.p(1), scores);
        named_barrier_arrive(kP1, kBlock);
#pragma unroll
        for (int half = 0; half < 2; half++) shrink[half] *= shrink1[half];
        scale_rows(o, shrink);
        pack(p, scores);
        clear_unseen<1>(smem, 1, keys.seen(page + 1));
        wgmma_fence(o);
        multiply_own<1>(o, p, smem);
        wgmma_commit();

        named_barrier_sync(kP0, kBlock);
        wgmma_fence();
        multiply_other<1>(o, smem);
        wgmma_commit();
        wgmma_wait<1>();
        refill<1>(smem, keys, page + 3);  // the product with its values is done
        wgmma_wait<0>(o);
        refill<1>(smem, keys, page + 2);
    }
    if (page == keys.end) return;
    // One page is left, and left has it.
    named_barrier_sync(kShrink0, kBlock);
    read_shrink(shrink, smem, 0);
    shrink_sum(sum, shrink);
    scale_rows(o, shrink);
    named_barrier_sync(kP0, kBlock);
    clear_unseen<1>(smem, 0, keys.seen(page));
    wgmma_fence(o);
    multiply_other<1>(o, smem);
    wgmma_commit();
    wgmma_wait<0>(o);
}

// ---- attend ----

// Stores o for the heads that there are: the result, where the row has one span, else the span's part of it.
__device__ __forceinline__ void store(const Work &work, const Item &item, const float (&o)[128], const Shared &smem,
                                      int column) {
    const MlaAttention &a = work.call;
    const Place place;
    const bool whole = work.span_count[item.row] == 1;
    const int64_t part = work.part(item.row, item.tile, item.span);
#pragma unroll
    for (int half = 0; half < 2; half++) {
        const int row = place.row + 8 * half;
        const int64_t head = int64_t{item.tile} * kRows + row;
        if (head >= a.H) continue;
        const float total = smem.total[0][row] + smem.total[1][row], factor = whole ? 1.0f / total : 1.0f;
        float *to = whole ? work.result(item.row, head) : work.part_o + (part * kRows + row) * kLatent;
        to += column + place.column;
        if (!whole && column == 0 && place.column == 0) work.total[part * kRows + row] = {smem.most[row], total};
#pragma unroll
        for (int i = 0; i < 128; i += 4)
            *reinterpret_cast<float2 *>(to + 2 * i) =
                make_float2(o[i + 2 * half] * factor, o[i + 2 * half + 1] * factor);
    }
}

template <int SIDE>
__device__ __forceinline__ void attend_items(const Work &work, const TensorMap *q_map, const TensorMap *k_map,
                                             float scale_log2) {
    Shared &smem = *reinterpret_cast<Shared *>(shared_memory());
    const MlaAttention &a = work.call;
    const int items = *work.item_count;
    unsigned q_phase = 0, k_phase = 0;
#pragma unroll 1
    for (int i = static_cast<int>(blockIdx.x); i < items; i += static_cast<int>(gridDim.x), q_phase ^= 1) {
        const Item item = work.items[i];
        const int64_t t = work.from + item.row;
        const int limit = a.position[t] + 1, pages = (limit + kPage - 1) / kPage, span = span_pages(pages);
        const Keys keys{k_map, a.table + a.request[t] * a.M, item.span * span, min((item.span + 1) * span, pages),
                        limit};
        if (SIDE == 0 && threadIdx.x < kRows) smem.most[threadIdx.x] = -FLT_MAX;
        if (threadIdx.x % kWarpgroup == 0) {
            if (SIDE == 0) {
                mbarrier_arrive_expect(&smem.q_full, kTiles * kTileBytes);
                for (int tile = 0; tile < kTiles; tile++)
                    tma_load(q_map, &smem.q_full, smem.q[tile], tile * kColumns, item.tile * kRows, item.row);
            }
            load_half<SIDE>(smem, keys, keys.begin);
            if (keys.begin + 1 < keys.end) load_half<SIDE>(smem, keys, keys.begin + 1);
        }
        mbarrier_wait(&smem.q_full, q_phase);
        const Place place;
        uint32_t q8[4][4];
#pragma unroll
        for (int step = 0; step < 4; step++)
#pragma unroll
            for (int j = 0; j < 4; j++)
                q8[step][j] =
                    *pair_in_tile(smem.q[kTiles - 1], place.row + 8 * (j % 2), 16 * step + 8 * (j / 2) + place.column);
        __syncthreads();  // Q's last tile is in registers, most is set

        float o[128], sum[2] = {0, 0};
#pragma unroll
        for (float &each : o) each = 0;
        if constexpr (SIDE == 0)
            attend_left(o, sum, smem, q8, keys, scale_log2, k_phase);
        else
            attend_right(o, sum, smem, q8, keys, scale_log2, k_phase);

#pragma unroll
        for (int half = 0; half < 2; half++) {
            sum[half] += __shfl_xor_sync(kAllLanes, sum[half], 1);
            sum[half] += __shfl_xor_sync(kAllLanes, sum[half], 2);
            if (threadIdx.x % 4 == 0) smem.total[SIDE][place.row + 8 * half] = sum[half];
        }
        __syncthreads();  // both totals are there
        store(work, item, o, smem, SIDE * kHalf);
        __syncthreads();  // and read, as all of shared memory, before the next item
    }
}

#endif  // PANAMOE_SM90

__global__ void __launch_bounds__(kBlock, 1) mla_attend(Work work, const __grid_constant__ TensorMap q_map,
                                                        const __grid_constant__ TensorMap k_map, float scale_log2) {
#if PANAMOE_SM90
    Shared &smem = *reinterpret_cast<Shared *>(shared_memory());
    if (threadIdx.x == 0) {
        mbarrier_init(&smem.q_full, 1);
        for (auto &page : smem.k_full)
            for (uint64_t &half : page) mbarrier_init(&half, 1);
        fence_barrier_init();
    }
    __syncthreads();
    if (threadIdx.x < kWarpgroup)
        attend_items<0>(work, &q_map, &k_map, scale_log2);
    else
        attend_items<1>(work, &q_map, &k_map, scale_log2);
#endif
}

// A block for each head of a row: the sum of its spans, ascending, as shares of the largest maximum.
__global__ void __launch_bounds__(kThreads) mla_combine(Work work) {
    const int t = static_cast<int>(blockIdx.x), head = static_cast<int>(blockIdx.y), row = head % kRows;
    const int spans = work.span_count[t];
    if (spans <= 1) return;
    const int64_t part = work.part(t, head / kRows, 0);
    float most = -INFINITY, total = 0;
    for (int span = 0; span < spans; span++) most = fmaxf(most, work.total[(part + span) * kRows + row].most);
    float4 sum = make_float4(0, 0, 0, 0);
    for (int span = 0; span < spans; span++) {
        const int64_t at = (part + span) * kRows + row;
        const float weight = exp2f(work.total[at].most - most);
        const float4 o = reinterpret_cast<const float4 *>(work.part_o + at * kLatent)[threadIdx.x];
        total = fmaf(weight, work.total[at].total, total);
        sum = make_float4(fmaf(weight, o.x, sum.x), fmaf(weight, o.y, sum.y), fmaf(weight, o.z, sum.z),
                          fmaf(weight, o.w, sum.w));
    }
    float2 *to = reinterpret_cast<float2 *>(work.result(t, head)) + 2 * threadIdx.x;
    to[0] = make_float2(sum.x / total, sum.y / total);
    to[1] = make_float2(sum.z / total, sum.w / total);
}

// ---- Host ----

// Whether this kernel takes the call. The scale must keep the scores' order: their maximum is taken before scaling.
inline bool takes(const MlaAttention &a, int32_t cache) {
    auto aligned = [](const void *data, uintptr_t bytes) { return reinterpret_cast<uintptr_t>(data) % bytes == 0; };
    return cache == PM_CACHE_BF16 && a.C == kLatent && a.R == kRope && a.B == kPage && a.scale > 0 &&
           a.scale < FLT_MAX && a.H <= 65535 && aligned(a.pages, 16) && aligned(a.o, 8);
}

// Rows are worked on in parts, so that what spans leave to combine stays within this.
constexpr int64_t kMostPartBytes = int64_t{512} << 20;

// Hands out the pieces of a scratch buffer, or counts what they need.
struct Pieces {
    unsigned char *at;
    size_t bytes = 0;

    template <class T>
    T *take(int64_t n) {
        T *piece = reinterpret_cast<T *>(at + bytes);
        bytes += static_cast<size_t>(ceil_div(n * static_cast<int64_t>(sizeof(T)), 256) * 256);
        return at == nullptr ? nullptr : piece;
    }
};

inline size_t lay_out(Work &work, unsigned char *scratch) {
    const int64_t items = int64_t{work.rows} * work.tiles * work.spans, parts = work.spans == 1 ? 0 : items;
    Pieces pieces{scratch};
    work.item_count = pieces.take<int>(1);
    work.q = pieces.take<uint16_t>(work.rows * work.call.H * kWidth);
    work.items = pieces.take<Item>(items);
    work.span_count = pieces.take<int>(work.rows);
    work.part_o = pieces.take<float>(parts * kRows * kLatent);
    work.total = pieces.take<SpanTotal>(parts * kRows);
    return pieces.bytes;
}

inline TensorMap map_pages(const MlaAttention &a) {
    return tensor_map("pages", {.data = a.pages,
                                .element_bytes = 2,
                                .rank = 3,
                                .size = {kWidth, kPage, static_cast<uint64_t>(a.page_count)},
                                .stride = {2, kWidth * 2, kPage * kWidth * 2},
                                .box = {kColumns, kPage, 1},
                                .swizzle = Swizzle::bytes_128});
}

// Heads behind the last one are loaded as zeros.
inline TensorMap map_queries(const Work &work) {
    uint64_t H = static_cast<uint64_t>(work.call.H);
    return tensor_map("q_THX", {.data = work.q,
                                .element_bytes = 2,
                                .rank = 3,
                                .size = {kWidth, H, static_cast<uint64_t>(work.rows)},
                                .stride = {2, kWidth * 2, H * kWidth * 2},
                                .box = {kColumns, kRows, 1},
                                .swizzle = Swizzle::bytes_128});
}

inline void attend(pm_context &ctx, const char *operation, const MlaAttention &a) {
    const int64_t tiles = ceil_div(a.H, kRows), spans = std::min<int64_t>(ceil_div(a.M, kSpanPages), kMostSpans);
    const int64_t row_bytes = tiles * spans * kRows * kLatent * static_cast<int64_t>(sizeof(float));
    const int64_t most_rows = std::max<int64_t>(1, kMostPartBytes / row_bytes);
    const TensorMap k_map = map_pages(a);
    for (int64_t from = 0; from < a.T; from += most_rows) {
        Work work{};
        work.call = a;
        work.from = from;
        work.rows = static_cast<int>(std::min(most_rows, a.T - from));
        work.tiles = static_cast<int>(tiles);
        work.spans = static_cast<int>(spans);
        lay_out(work, scratch(ctx, operation, lay_out(work, nullptr)));

        const unsigned rows = static_cast<unsigned>(work.rows), heads = static_cast<unsigned>(a.H);
        const int64_t blocks = std::min<int64_t>(ctx.multiprocessors, work.rows * tiles * spans);
        require_success(ctx, operation, cudaMemsetAsync(work.item_count, 0, sizeof(int), ctx.stream));
        launch(operation, mla_prepare, dim3(rows), dim3(kThreads), 0, ctx.stream, work);
        launch(operation, mla_attend, dim3(static_cast<unsigned>(blocks)), dim3(kBlock), sizeof(Shared), ctx.stream,
               work, map_queries(work), k_map, a.scale * 1.44269504f);  // log2(e): shares are powers of 2
        if (spans > 1) launch(operation, mla_combine, dim3(rows, heads), dim3(kThreads), 0, ctx.stream, work);
    }
}

}  // namespace panamoe::cuda::mla_sm90
