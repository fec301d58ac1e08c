// What a context of the CPU back end holds.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "contexts.hpp"
#include "threads.hpp"

namespace panamoe {

struct Isa;  // the kernels of one instruction set: kernels/cpu/isa.hpp

// The kernels called name; nullptr: the best this CPU has. Throws Error where the name or the CPU does not fit.
const Isa &find_isa(const char *name);
const char *isa_name(const Isa &isa);

// Working memory of one thread: decoded weights and partial sums. About half of a usual second-level cache.
constexpr int64_t kScratchBytes = 256 * 1024;
// Behind it, room for a tile of products that a piece goes on with at once.
constexpr int64_t kTileBytes = 16 * 1024;

struct FreeAligned {
    void operator()(void *data) const;
};
using Aligned = std::unique_ptr<void, FreeAligned>;

// bytes of memory, aligned to 64. Throws Error "<operation>: N bytes: out of memory".
Aligned allocate_aligned(const char *operation, int64_t bytes);

// Memory of a context that one call at a time uses: it grows with the largest one, and is not given back before.
struct Room {
    Aligned data;
    int64_t size = 0;

    unsigned char *of(const char *operation, int64_t bytes) {
        if (bytes > size) {
            data.reset();
            size = 0;
            data = allocate_aligned(operation, bytes);
            size = bytes;
        }
        return static_cast<unsigned char *>(data.get());
    }
};

// Rows [from, from + rows) of a grouped call, all of one expert, and where they lie one after the other.
struct RowBlock {
    int32_t expert, from, rows;
    int64_t laid;  // the first of them among the rows that were laid; -1: they lie where they are
    const void *x;
};

}  // namespace panamoe

struct pm_context {
    panamoe::Session session;
    const panamoe::Isa *isa = nullptr;
    std::optional<panamoe::Threads> threads;
    panamoe::Aligned scratch;  // kScratchBytes and kTileBytes for each thread
    panamoe::Room rows;        // of x, gathered or as codes
    panamoe::Room products;    // that a second job goes on with
    panamoe::Room expanded;    // what mla_expanded works in, for each thread
    std::vector<panamoe::RowBlock> blocks;
    std::vector<int32_t> laid;  // for each row in rows, which one of x it is

    void *scratch_of(int thread) {
        return static_cast<char *>(scratch.get()) + thread * (panamoe::kScratchBytes + panamoe::kTileBytes);
    }
    float *tile_of(int thread) {
        return reinterpret_cast<float *>(static_cast<char *>(scratch_of(thread)) + panamoe::kScratchBytes);
    }
};
