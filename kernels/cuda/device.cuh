// The machine: the only header of this folder that knows whether nvcc or the host compiler reads it. Kernels find here
// what CUDA itself gives them, shared_memory(), launch() and the machine's instructions.
#pragma once

#ifdef PANAMOE_EMULATOR
#include "emulator/device.hpp"
#else

#include <cuda_runtime.h>

#include <cstddef>
#include <cstdint>

#include "boundary.hpp"

namespace panamoe::cuda {

// The block's dynamic shared memory, aligned to 1024 bytes. There is no other.
extern __shared__ __align__(1024) unsigned char dynamic_shared_memory[];
__device__ __forceinline__ unsigned char *shared_memory() { return dynamic_shared_memory; }

// Enqueues kernel(args...) on grid blocks of block threads, each block with smem bytes of shared memory. Throws Error,
// which names the kernel, where the launch is refused; what goes wrong while it runs surfaces at a later call.
template <class... P, class... A>
void launch(const char *name, void (*kernel)(P...), dim3 grid, dim3 block, size_t smem, cudaStream_t stream,
            A... args) {
    cudaError_t status = cudaSuccess;
    if (smem > 48 * 1024)  // more than every device has must be asked for
        status = cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, static_cast<int>(smem));
    if (status == cudaSuccess) {
        cudaLaunchConfig_t config{};
        config.gridDim = grid;
        config.blockDim = block;
        config.dynamicSmemBytes = smem;
        config.stream = stream;
        status = cudaLaunchKernelEx(&config, kernel, static_cast<P>(args)...);
    }
    if (status == cudaSuccess) return;
    cudaGetLastError();  // reported here, not once more at the next call
    fail("%s: launch of %u x %u x %u blocks of %u x %u x %u threads, %zu bytes of shared memory: %s", name, grid.x,
         grid.y, grid.z, block.x, block.y, block.z, smem, cudaGetErrorString(status));
}

}  // namespace panamoe::cuda

#endif
