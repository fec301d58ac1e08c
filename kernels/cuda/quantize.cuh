// Activations in the formats that tensor cores multiply.
//
// Bound by memory: 4 bytes in, 1 or 2 out for each element; what follows reads them from the second-level cache.
#pragma once

#include "work.cuh"

namespace panamoe::cuda {

// y_TD = bf16(x_TD), rows of y stride elements apart. A block takes one row after the other.
__global__ void __launch_bounds__(kThreads)
    round_to_bf16(uint16_t *y, const float *x, int64_t T, int64_t D, int64_t stride) {
    for (int64_t t = blockIdx.x; t < T; t += gridDim.x)
        for (int64_t d = threadIdx.x; d < D; d += blockDim.x) y[t * stride + d] = float_to_bf16(x[t * D + d]);
}

// The least scale, times 448: a row of zeros, or of numbers whose squares vanish, is not divided by 0.
constexpr float kLeastMagnitude = 1e-4f, kE4m3Largest = 448;

// y_TD = e4m3(x_TD / scale), one scale for each row and kScaleColumns columns, so that the largest magnitude becomes
// that of e4m3: scale[d / 128 * scale_stride + t]. A NaN stays alone; beside an infinity the rest becomes 0, and the
// row's product NaN. D is a multiple of 4. A warp takes one block of columns of one row, a lane four neighbours.
__global__ void __launch_bounds__(kThreads) quantize_to_e4m3(uint8_t *y, float *scale, const float *x, int64_t T,
                                                             int64_t D, int64_t stride, int64_t scale_stride) {
    int64_t blocks = ceil_div(D, 128);
    for (int64_t item = int64_t{blockIdx.x} * kWarps + warp_of_block(); item < T * blocks;
         item += int64_t{gridDim.x} * kWarps) {
        int64_t t = item / blocks, block = item % blocks, d = block * 128 + 4 * lane_of_warp();
        bool inside = d < D;
        float value[4], largest = 0;
#pragma unroll
        for (int i = 0; i < 4; i++) {
            value[i] = inside ? x[t * D + d + i] : 0;
            largest = fmaxf(largest, fabsf(value[i]));
        }
        for (int bit = kWarp / 2; bit > 0; bit /= 2) largest = fmaxf(largest, __shfl_xor_sync(kAllLanes, largest, bit));
        float step = fmaxf(largest, kLeastMagnitude) / kE4m3Largest;
        uint32_t codes = 0;
#pragma unroll
        for (int i = 0; i < 4; i++) codes |= uint32_t{float_to_e4m3(value[i] / step)} << 8 * i;
        if (inside) *reinterpret_cast<uint32_t *>(y + t * stride + d) = codes;
        if (lane_of_warp() == 0) scale[block * scale_stride + t] = step;
    }
}

}  // namespace panamoe::cuda
