// What a TMA descriptor says, in words; and the layouts that shared memory takes with it.
#pragma once

#include <cstdint>

#include "boundary.hpp"

namespace panamoe::cuda {

// How 16-byte pieces change places within rows of 32, 64 or 128 bytes, so that a column of a tile does not lie in one
// bank: the lowest 1, 2 or 3 bits of a piece's number are xored with those of the row's. It is the address in shared
// memory that decides, so a tile swizzled by 128 bytes begins at a multiple of 1024.
enum class Swizzle { none = 0, bytes_32 = 1, bytes_64 = 2, bytes_128 = 3 };

constexpr uint32_t swizzle_span(Swizzle swizzle) { return 16u << static_cast<int>(swizzle); }

constexpr uint32_t swizzled(uint32_t address, Swizzle swizzle) {
    return address ^ ((address >> 3) & (swizzle_span(swizzle) - 16));
}

// A tensor in global memory and the box that one copy moves. Dimension 0 lies contiguous.
struct TensorShape {
    const void *data;
    int element_bytes;   // 1, 2 or 4
    int rank;            // 2 or 3
    uint64_t size[3];    // in elements
    uint64_t stride[3];  // in bytes; stride[0] is not used
    uint32_t box[3];     // in elements
    Swizzle swizzle;
};

// Throws Error, which names the tensor, where TMA does not take the shape.
inline void check_tensor_map(const char *name, const TensorShape &shape) {
    require(shape.element_bytes == 1 || shape.element_bytes == 2 || shape.element_bytes == 4,
            "%s: elements of %d bytes", name, shape.element_bytes);
    require(shape.rank == 2 || shape.rank == 3, "%s: rank %d", name, shape.rank);
    require(reinterpret_cast<uintptr_t>(shape.data) % 16 == 0, "%s: TMA wants an address aligned to 16 bytes, is %p",
            name, shape.data);
    for (int i = 0; i < shape.rank; i++) {
        require(shape.size[i] >= 1 && shape.size[i] <= uint64_t{1} << 32, "%s: dimension %d has %llu elements", name, i,
                static_cast<unsigned long long>(shape.size[i]));
        require(shape.box[i] >= 1 && shape.box[i] <= 256,
                "%s: dimension %d of the box has %u elements, TMA takes 1 to 256", name, i, shape.box[i]);
        require(i == 0 || (shape.stride[i] % 16 == 0 && shape.stride[i] < uint64_t{1} << 40),
                "%s: stride %d is %llu bytes, TMA wants a multiple of 16 below 2^40", name, i,
                static_cast<unsigned long long>(shape.stride[i]));
    }
    uint32_t row = shape.box[0] * static_cast<uint32_t>(shape.element_bytes);
    if (shape.swizzle == Swizzle::none)
        require(row % 16 == 0, "%s: a row of the box has %u bytes, TMA wants a multiple of 16", name, row);
    else  // TMA takes shorter rows too; we have no use for them
        require(row == swizzle_span(shape.swizzle), "%s: a row of the box has %u bytes, the swizzle spans %u", name,
                row, swizzle_span(shape.swizzle));
}

}  // namespace panamoe::cuda
