// How rows of the latent cache are stored. A new kind is a struct here and a case in with_cache.
#pragma once

#include "checks.hpp"
#include "formats.cuh"

namespace panamoe::cuda {

// Value: what one value of a row is; it can be had as a float, and be assigned one. Format: how product.cuh reads it.
struct CacheF32 {
    using Value = float;
    using Format = F32;
};

struct CacheBf16 {
    struct Value {
        uint16_t bits;
        __device__ Value &operator=(float value) {
            bits = float_to_bf16(value);
            return *this;
        }
        __device__ operator float() const { return bf16_to_float(bits); }
    };
    using Format = Bf16;
};

// The one place where a cache id becomes a type. Calls nothing for an id that is none.
template <class Body>
void with_cache(int32_t id, Body body) {
    switch (id) {
        case PM_CACHE_F32: return body(CacheF32{});
        case PM_CACHE_BF16: return body(CacheBf16{});
        default: return;
    }
}

inline void require_cache(const char *operation, int32_t cache, const void *pages) {
    size_t bytes = 0;
    with_cache(cache, [&](auto kind) { bytes = sizeof(typename decltype(kind)::Value); });
    require(bytes != 0, "%s: cache is %d, the %s back end has %d (F32) and %d (BF16)", operation, cache, kBackEnd.name,
            PM_CACHE_F32, PM_CACHE_BF16);
    require(reinterpret_cast<uintptr_t>(pages) % bytes == 0, "%s: pages is at %p, which is no multiple of %zu",
            operation, pages, bytes);
}

}  // namespace panamoe::cuda
