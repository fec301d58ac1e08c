// gemm and grouped_gemm on the tensor cores of sm_90a: y[n][f] = sum over d of w_E[e][f][d] * x[n][d], x in bf16 or
// e4m3.
//
// Few rows for each expert: bound by memory, each weight passes once and as many loads as shared memory holds are under
// way. Many rows: bound by the tensor cores. It wins over the plain path wherever it fits.
//
// The weights are the operand that comes in 64 rows, the activations the one that comes in N columns: so an expert with
// 3 rows costs a tile of 16, not of 64, and one kernel serves decoding and prefill. BLOCK_N changes no result: an
// output's sum runs over d in one order, in whichever column of whichever tile it stands. (This holds in the emulator,
// and is what the instruction's description suggests; a device must show it.)
//
// A block is one warpgroup that loads, with one thread, and one or two that multiply, 64 outputs each. Blocks are as
// many as multiprocessors and take every gridDim.x-th tile; all find their tiles in offset_E1 by themselves. A tile
// holds rows of one expert: the rows of the next one that the load brings along are multiplied, too, and not stored.
#pragma once

#include "faults.cuh"
#include "formats.cuh"
#include "work.cuh"

namespace panamoe::cuda {

// One instance of the kernel. SCALED: e4m3 with scales, else bf16.
template <bool SCALED_, int BLOCK_N_>
struct TensorTile {
    static constexpr bool SCALED = SCALED_;
    static constexpr int BLOCK_N = BLOCK_N_;                   // rows of x
    static constexpr int WARPGROUPS = BLOCK_N >= 128 ? 2 : 1;  // that multiply
    static constexpr int BLOCK_F = 64 * WARPGROUPS;            // at most 128, so that a tile has one row of scales
    static constexpr int kRowBytes = 128;                      // of both operands: one swizzle, one block of scales
    static constexpr int BLOCK_D = SCALED ? kRowBytes : kRowBytes / 2;

    static constexpr int kWeightBytes = BLOCK_F * kRowBytes, kInputBytes = BLOCK_N * kRowBytes;
    static constexpr int kScaleBytes = !SCALED ? 0 : BLOCK_N * 4 < 128 ? 128 : BLOCK_N * 4;  // TMA wants 128
    static constexpr int kStageBytes = kWeightBytes + kInputBytes + kScaleBytes;
    static constexpr int kLoadedBytes = kWeightBytes + kInputBytes + (SCALED ? BLOCK_N * 4 : 0);
    static constexpr int kMostBytes = 200 * 1024;
    static constexpr int STAGES = kMostBytes / kStageBytes < 16 ? kMostBytes / kStageBytes : 16;
    static_assert(STAGES >= 4);
    static constexpr int kThreads = 128 * (1 + WARPGROUPS);
    static constexpr size_t kSharedBytes = size_t{STAGES} * (kStageBytes + 2 * 8);
};

struct TensorGemm {
    float *y;
    const Byte *const *w, *const *scale;  // [E]; NULL: there is one expert
    const Byte *only_scale;               // its scales
    const int32_t *offset;                // [E + 1]; NULL: there is one expert
    const TensorMap *maps;                // [E] of the weights; NULL: there is one expert
    int N, D, F, E;
    Fault *fault;
};

// Outputs [f, f + BLOCK_F) of rows [row, row + rows).
struct OutputTile {
    int expert, row, rows, f;
};

// Whether an expert that has rows has no weights or no scales.
template <class Tile>
__device__ bool lacks_weight(const TensorGemm &a, int expert) {
    int rows = a.offset[expert + 1] - a.offset[expert];
    if (rows == 0) return false;
    if (a.w[expert] == nullptr) return refuse(a.fault, BadIndex::expert_weight, expert, rows), true;
    if (Tile::SCALED && a.scale[expert] == nullptr) return refuse(a.fault, BadIndex::expert_scale, expert, rows), true;
    return false;
}

// Whether any expert does; only then have those who walk to look at each. All threads of the block must call it.
template <class Tile>
__device__ bool any_lacks_weight(const TensorGemm &a) {
    if (a.offset == nullptr) return false;
    bool lacks = false;
    for (int e = static_cast<int>(threadIdx.x); e < a.E; e += static_cast<int>(blockDim.x))
        lacks = lacks_weight<Tile>(a, e) || lacks;
    return __syncthreads_or(lacks) != 0;
}

// The tiles of one block; an expert that lacks its weights has none. Within an expert, groups of 8 tiles of outputs run
// through all rows: then what runs at the same time shares both weights and rows in the second-level cache.
template <class Tile>
class TileWalk {
  public:
    __device__ TileWalk(const TensorGemm &a, bool lacking)
        : a_(a), lacking_(lacking), tile_(static_cast<int>(blockIdx.x)) {
        enter(0);
    }

    __device__ bool next(OutputTile &found) {
        while (tile_ >= tiles_) {
            if (expert_ + 1 >= a_.E) return false;
            tile_ -= tiles_;
            enter(expert_ + 1);
        }
        constexpr int kGroup = 8;
        int rows = to_ - from_, tiles_N = (rows + Tile::BLOCK_N - 1) / Tile::BLOCK_N;
        int group = tile_ / (kGroup * tiles_N), within = tile_ % (kGroup * tiles_N);
        int width = min(kGroup, tiles_F() - group * kGroup), row = within / width * Tile::BLOCK_N;
        found = {expert_, from_ + row, min(rows - row, Tile::BLOCK_N),
                 (group * kGroup + within % width) * Tile::BLOCK_F};
        tile_ += static_cast<int>(gridDim.x);
        return true;
    }

  private:
    __device__ int tiles_F() const { return (a_.F + Tile::BLOCK_F - 1) / Tile::BLOCK_F; }

    __device__ void enter(int expert) {
        expert_ = expert;
        from_ = to_;
        to_ = a_.offset == nullptr ? a_.N : a_.offset[expert + 1];
        tiles_ = (to_ - from_ + Tile::BLOCK_N - 1) / Tile::BLOCK_N * tiles_F();
        if (lacking_ && lacks_weight<Tile>(a_, expert)) tiles_ = 0;
    }

    const TensorGemm &a_;
    bool lacking_;
    int tile_;  // counted from the expert's first
    int expert_ = 0, from_ = 0, to_ = 0, tiles_ = 0;
};

// Whether offset_E1 ascends from 0 to N; else nothing is computed. All threads of the block must call it.
__device__ inline bool offsets_hold(const TensorGemm &a) {
    if (a.offset == nullptr) return true;
    auto in_order = [&](int e) { return a.offset[e + 1] >= a.offset[e] && a.offset[e + 1] <= a.N; };
    bool bad = a.offset[0] != 0 || a.offset[a.E] != a.N;
    for (int e = static_cast<int>(threadIdx.x); e < a.E; e += static_cast<int>(blockDim.x)) bad = bad || !in_order(e);
    if (__syncthreads_or(bad) == 0) return true;
    if (threadIdx.x != 0) return false;
    if (a.offset[0] != 0) return refuse(a.fault, BadIndex::offset_first, a.offset[0], 0), false;
    if (a.offset[a.E] != a.N) return refuse(a.fault, BadIndex::offset_last, a.E, a.offset[a.E], a.N), false;
    int e = 0;
    while (in_order(e)) e++;
    refuse(a.fault, BadIndex::offset_order, e, a.offset[e], e + 1, a.offset[e + 1], a.N);
    return false;
}

// The ring of stages, as the loading thread and those that multiply go through it.
template <int STAGES>
struct StageRing {
    int stage = 0;
    unsigned phase = 0;
    __device__ void advance() {
        if (++stage == STAGES) stage = 0, phase ^= 1;
    }
};

// x_ND: rows of 128 bytes, BLOCK_N of them; scale_DN: the scales of x, a row for each 128 columns, BLOCK_N of them;
// w_FD, where there is one expert, and a.maps: 64 rows of 128 bytes.
template <class Tile>
__global__ void __launch_bounds__(Tile::kThreads, 1)
    grouped_gemm_sm90(const __grid_constant__ TensorMap x_ND, const __grid_constant__ TensorMap scale_DN,
                      const __grid_constant__ TensorMap w_FD, const __grid_constant__ TensorGemm a) {
#if PANAMOE_SM90
    constexpr int STAGES = Tile::STAGES, BLOCK_N = Tile::BLOCK_N;
    unsigned char *smem_w = shared_memory(), *smem_x = smem_w + STAGES * Tile::kWeightBytes;
    unsigned char *smem_scale = smem_x + STAGES * Tile::kInputBytes;
    uint64_t *full = reinterpret_cast<uint64_t *>(smem_scale + STAGES * Tile::kScaleBytes), *empty = full + STAGES;
    const int warpgroup = static_cast<int>(threadIdx.x) / 128, warp = warp_of_block(), lane = lane_of_warp();
    const int steps = (a.D + Tile::BLOCK_D - 1) / Tile::BLOCK_D;

    if (!offsets_hold(a)) return;
    const bool lacking = any_lacks_weight<Tile>(a);
    if (threadIdx.x == 0) {
        for (int i = 0; i < STAGES; i++) {
            mbarrier_init(full + i, 1);
            mbarrier_init(empty + i, 4 * Tile::WARPGROUPS);
        }
        fence_barrier_init();
    }
    __syncthreads();

    TileWalk<Tile> walk(a, lacking);
    OutputTile tile;
    StageRing<STAGES> ring;

    if (warpgroup == 0) {
        setmaxnreg_dec<40>();
        if (warp != 0 || !elect_one()) return;
        while (walk.next(tile)) {
            const TensorMap *w = &w_FD;
            if (a.maps != nullptr) {
                w = a.maps + tile.expert;
                fence_tensor_map(w);
            }
            for (int step = 0; step < steps; step++, ring.advance()) {
                uint64_t *barrier = full + ring.stage;
                mbarrier_wait(empty + ring.stage, ring.phase ^ 1);
                mbarrier_arrive_expect(barrier, Tile::kLoadedBytes);
                for (int i = 0; i < Tile::WARPGROUPS; i++)
                    tma_load(w, barrier, smem_w + ring.stage * Tile::kWeightBytes + i * 64 * Tile::kRowBytes,
                             step * Tile::BLOCK_D, tile.f + 64 * i);
                tma_load(&x_ND, barrier, smem_x + ring.stage * Tile::kInputBytes, step * Tile::BLOCK_D, tile.row);
                if constexpr (Tile::SCALED)
                    tma_load(&scale_DN, barrier, smem_scale + ring.stage * Tile::kScaleBytes, tile.row, step);
            }
        }
        return;
    }

    setmaxnreg_inc<232>();
    auto release = [&](int stage) {
        if (lane == 0) mbarrier_arrive(empty + stage);
    };
    // 128 bytes of d are four products.
    auto multiply = [&](float(&sum)[BLOCK_N / 2], int stage, bool add) {
        unsigned char *mine = smem_w + stage * Tile::kWeightBytes + (warpgroup - 1) * 64 * Tile::kRowBytes;
        uint64_t w = matrix_descriptor(mine, Swizzle::bytes_128, 1024);
        uint64_t x = matrix_descriptor(smem_x + stage * Tile::kInputBytes, Swizzle::bytes_128, 1024);
#pragma unroll
        for (uint32_t i = 0; i < 4; i++) {
            if constexpr (Tile::SCALED)
                wgmma_e4m3<BLOCK_N>(sum, advance(w, 32 * i), advance(x, 32 * i), add || i > 0);
            else
                wgmma_bf16<BLOCK_N>(sum, advance(w, 32 * i), advance(x, 32 * i), add || i > 0);
        }
        wgmma_commit();
    };

    while (walk.next(tile)) {
        float sum[BLOCK_N / 2];
        if constexpr (!Tile::SCALED) {
            // One group of products is always under way: a stage is given back when the next one's have begun.
            int before = 0;
            for (int step = 0; step < steps; step++, ring.advance()) {
                mbarrier_wait(full + ring.stage, ring.phase);
                wgmma_fence();
                multiply(sum, ring.stage, step > 0);
                wgmma_wait<1>();
                if (step > 0) release(before);
                before = ring.stage;
            }
            wgmma_wait<0>(sum);
            release(before);
        } else {
            // The tensor cores keep 14 bits of a sum of e4m3: it is taken from them after each block of 128, which is
            // also where the scales change.
            const Byte *scale_D =
                (a.scale == nullptr ? a.only_scale : a.scale[tile.expert]) + int64_t{tile.f / 128} * steps * 4;
            float scale_w = load_float(scale_D);
#pragma unroll
            for (float &each : sum) each = 0;
            for (int step = 0; step < steps; step++, ring.advance()) {
                float scale_next = step + 1 < steps ? load_float(scale_D + 4 * int64_t{step + 1}) : 0;
                mbarrier_wait(full + ring.stage, ring.phase);
                const float *smem_scale_N =
                    reinterpret_cast<const float *>(smem_scale + ring.stage * Tile::kScaleBytes) + lane % 4 * 2;
                float2 scale_x[BLOCK_N / 8];
#pragma unroll
                for (int i = 0; i < BLOCK_N / 8; i++)
                    scale_x[i] = *reinterpret_cast<const float2 *>(smem_scale_N + 8 * i);
                float part[BLOCK_N / 2];
                wgmma_fence(part);
                multiply(part, ring.stage, false);
                wgmma_wait<0>(part);
                release(ring.stage);
#pragma unroll
                for (int i = 0; i < BLOCK_N / 2; i++) {
                    float scale = (i % 2 == 0 ? scale_x[i / 4].x : scale_x[i / 4].y) * scale_w;
                    sum[i] = fmaf(scale, part[i], sum[i]);
                }
                scale_w = scale_next;
            }
        }

        // Eight lanes have neighbouring outputs of one row: 32 bytes.
        int f = tile.f + 64 * (warpgroup - 1) + 16 * (warp % 4) + lane / 4;
        float *y = a.y + int64_t{tile.row} * a.F + f;
#pragma unroll
        for (int i = 0; i < BLOCK_N / 2; i++) {
            int row = 8 * (i / 4) + 2 * (lane % 4) + i % 2, below = 8 * (i / 2 % 2);
            if (row < tile.rows && f + below < a.F) y[int64_t{row} * a.F + below] = sum[i];
        }
    }
#endif
}

}  // namespace panamoe::cuda
