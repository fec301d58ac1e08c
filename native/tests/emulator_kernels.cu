// The right ones of the emulator's test kernels, for nvcc: what the emulator runs is what the device would get.
#include "emulator_kernels.cuh"

namespace panamoe::cuda {

template __global__ void emulator_gemm<3, Bug::none>(const __grid_constant__ TensorMap,
                                                     const __grid_constant__ TensorMap,
                                                     const __grid_constant__ TensorMap, int, int, int);
template __global__ void emulator_product<8, ProductKind::shared, Major::k, Major::k>(float *, ProductTiles,
                                                                                      const uint32_t *);
template __global__ void emulator_product<64, ProductKind::shared, Major::mn, Major::mn>(float *, ProductTiles,
                                                                                         const uint32_t *);
template __global__ void emulator_product<256, ProductKind::registers, Major::k, Major::mn>(float *, ProductTiles,
                                                                                            const uint32_t *);
template __global__ void emulator_product<256, ProductKind::e4m3, Major::k, Major::k>(float *, ProductTiles,
                                                                                      const uint32_t *);
template __global__ void emulator_matrices<false, true>(uint16_t *, const uint16_t *);
template __global__ void emulator_registers<40, 232>();
template __global__ void emulator_sum<PlainBug::none>(float *, const float *, int);
template __global__ void emulator_pipe<PlainBug::none>(int *, const int *, int);

}  // namespace panamoe::cuda
