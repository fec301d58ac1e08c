// What a context of the CPU back end holds.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>

#include "contexts.hpp"
#include "threads.hpp"

namespace panamoe {

struct Isa;  // the kernels of one instruction set: kernels/cpu/isa.hpp

// The kernels called name; nullptr: the best this CPU has. Throws Error where the name or the CPU does not fit.
const Isa &find_isa(const char *name);
const char *isa_name(const Isa &isa);

// Working memory of one thread: decoded weights and partial sums. About half of a usual second-level cache.
constexpr int64_t kScratchBytes = 256 * 1024;

struct FreeAligned {
    void operator()(void *data) const;
};
using Aligned = std::unique_ptr<void, FreeAligned>;

// bytes of memory, aligned to 64. Throws Error "<operation>: N bytes: out of memory".
Aligned allocate_aligned(const char *operation, int64_t bytes);

}  // namespace panamoe

struct pm_context {
    panamoe::Session session;
    const panamoe::Isa *isa = nullptr;
    std::optional<panamoe::Threads> threads;
    panamoe::Aligned scratch;    // kScratchBytes for each thread
    panamoe::Aligned quantized;  // rows of x as codes, for products with integer formats: grows with the largest call
    int64_t quantized_bytes = 0;

    unsigned char *quantized_rows(const char *operation, int64_t bytes) {
        if (bytes > quantized_bytes) {
            quantized.reset();
            quantized_bytes = 0;
            quantized = panamoe::allocate_aligned(operation, bytes);
            quantized_bytes = bytes;
        }
        return static_cast<unsigned char *>(quantized.get());
    }

    void *scratch_of(int thread) { return static_cast<char *>(scratch.get()) + thread * panamoe::kScratchBytes; }
};
