// What the machine can do with this instruction set: the limits that the other kernels are judged by.
#include "vector.hpp"

namespace panamoe::PANAMOE_ISA {

// Reads every byte, with as few instructions as possible.
int32_t read(const Byte *data, int64_t bytes) {
    IntVec acc[8] = {};
    constexpr int64_t kStep = 8 * static_cast<int64_t>(sizeof(IntVec));
    int64_t at = 0;
    for (; at + kStep <= bytes; at += kStep) {
#pragma GCC unroll 8
        for (int i = 0; i < 8; i++) acc[i] ^= bits<IntVec>(load(data + at + i * static_cast<int64_t>(sizeof(IntVec))));
    }
    int32_t result = 0;
    for (; at < bytes; at++) result ^= data[at];
    for (const IntVec &each : acc)
        for (int64_t lane = 0; lane < LANES; lane++) result ^= each[lane];
    return result;
}

// Twelve chains, more than latency times throughput of the multiply-add units needs.
int64_t multiply_add(int64_t steps, float *result) {
    constexpr int kChains = 12;
    Vec acc[kChains];
    for (int i = 0; i < kChains; i++) acc[i] = broadcast(*result + static_cast<float>(i));
    Vec factor = broadcast(*result * 0.5f), term = broadcast(*result * 0.25f);
    for (int64_t step = 0; step < steps; step++) {
#pragma GCC unroll 12
        for (int i = 0; i < kChains; i++) acc[i] = fma(acc[i], factor, term);
    }
    for (int i = 1; i < kChains; i++) acc[0] += acc[i];
    *result = sum(acc[0]);
    return steps * kChains * LANES * 2;
}

// Products of each of some vectors with each of others, as in a tile; x changes from step to step, or the compiler
// would compute the products once for all.
int64_t multiply_codes(int64_t steps, int32_t *result) {
    constexpr int kW = LANES == 16 ? 4 : 3, kX = LANES == 16 ? 3 : 2;
    IntVec acc[kX][kW] = {}, w[kW], x[kX];
    for (int i = 0; i < kW; i++) w[i] = IntVec{} + ((*result + i) & 0x0f0f0f0f);
    for (int i = 0; i < kX; i++) x[i] = IntVec{} + (*result + i);
    for (int64_t step = 0; step < steps; step++) {
#pragma GCC unroll 4
        for (int i = 0; i < kX; i++) {
#pragma GCC unroll 4
            for (int j = 0; j < kW; j++) acc[i][j] = dot<false>(acc[i][j], w[j], x[i]);
            x[i] += 1;
        }
    }
    for (auto &row : acc)
        for (IntVec &sums : row) *result ^= sums[0];
    return steps * kX * kW * LANES * 4 * 2;
}

}  // namespace panamoe::PANAMOE_ISA
