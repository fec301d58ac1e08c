// Checks of arguments that all back ends make before a kernel sees them. Each text names the operation, the argument
// and both sides.
#pragma once

#include <cstdint>
#include <initializer_list>

#include "contexts.hpp"

namespace panamoe {

struct Size {
    const char *name;
    int32_t value;
    int32_t least = 1;
};

inline void require_sizes(const char *operation, std::initializer_list<Size> sizes) {
    for (const Size &size : sizes)
        require(size.value >= size.least, "%s: %s is %d, must be at least %d", operation, size.name, size.value,
                size.least);
}

struct Pointer {
    const char *name;
    const void *value;
};

inline void require_pointers(const char *operation, std::initializer_list<Pointer> pointers) {
    for (const Pointer &pointer : pointers)
        require(pointer.value != nullptr, "%s: %s is NULL", operation, pointer.name);
}

inline void require_even(const char *operation, const char *name, int32_t value) {
    require(value % 2 == 0, "%s: %s is %d, must be even", operation, name, value);
}

inline void require_type(const char *operation, int32_t type) {
    require(type == PM_F32, "%s: type is %d, the %s back end has %d (F32)", operation, type, kBackEnd.name, PM_F32);
}

inline void require_cache(const char *operation, int32_t cache) {
    require(cache == PM_CACHE_F32, "%s: cache is %d, the %s back end has %d (F32)", operation, cache, kBackEnd.name,
            PM_CACHE_F32);
}

// size: what the back end's formats make of the id, with the bits of one weight (0: unknown id) and how many columns
// share a scale (0: no scales). Returns it.
template <class FormatSize>
FormatSize require_format(const char *operation, int32_t format, FormatSize size) {
    require(size.bits != 0, "%s: format is %d, the %s back end has no such weight format", operation, format,
            kBackEnd.name);
    return size;
}

template <class FormatSize>
void require_vector_format(const char *operation, int32_t format, FormatSize size) {
    require(require_format(operation, format, size).block == 0, "%s: format is %d, must be %d (F32) or %d (BF16)",
            operation, format, PM_W_F32, PM_W_BF16);
}

template <class FormatSize>
void require_scale(const char *operation, const char *name, const void *scale, int32_t format, FormatSize size) {
    require(size.block == 0 || scale != nullptr, "%s: %s is NULL, format %d has scales", operation, name, format);
}

inline void require_scoring(const char *operation, int32_t scoring) {
    require(scoring == PM_SIGMOID || scoring == PM_SOFTMAX, "%s: scoring is %d, there are %d and %d", operation,
            scoring, PM_SIGMOID, PM_SOFTMAX);
}

inline void require_route(const char *operation, int32_t T, int32_t E, int32_t K, int32_t G, int32_t kept,
                          int32_t best) {
    require_sizes(operation, {{"T", T, 0}, {"E", E}, {"K", K}, {"G", G}, {"kept", kept}, {"best", best}});
    require(E % G == 0, "%s: G is %d, which does not divide E, %d", operation, G, E);
    require(kept <= G, "%s: kept is %d, G is %d", operation, kept, G);
    require(best <= 2, "%s: best is %d, must be 1 or 2", operation, best);
    require(kept == G || best <= E / G, "%s: best is %d, a group has %d experts", operation, best, E / G);
    require(K <= int64_t{E} / G * kept, "%s: K is %d, %d of %d groups have %d experts", operation, K, kept, G,
            E / G * kept);
    require(int64_t{T} * K <= INT32_MAX, "%s: T * K is %lld, beyond int32_t", operation,
            static_cast<long long>(int64_t{T} * K));
}

// Of grouped_combine: a term has a token and a weight, or neither.
inline void require_weights(const char *operation, const int32_t *token_N, const float *weight_N) {
    require((token_N == nullptr) == (weight_N == nullptr), "%s: %s is NULL, %s is not", operation,
            token_N == nullptr ? "token_N" : "weight_N", token_N == nullptr ? "weight_N" : "token_N");
}

inline void require_allocate(void *const *out, int64_t bytes) {
    require(out != nullptr, "allocate: out is NULL");
    require(bytes >= 0, "allocate: %lld bytes", static_cast<long long>(bytes));
}

inline void require_copy(const void *to, const void *from, int64_t bytes) {
    require(bytes >= 0, "copy: %lld bytes", static_cast<long long>(bytes));
    require(bytes == 0 || (to != nullptr && from != nullptr), "copy: %s is NULL", to == nullptr ? "to" : "from");
}

inline void require_measure(int32_t quantity, const float *result) {
    require(result != nullptr, "measure: result is NULL");
    require(quantity >= PM_READ_BANDWIDTH && quantity <= PM_INT8_RATE, "measure: quantity is %d, there are %d to %d",
            quantity, PM_READ_BANDWIDTH, PM_INT8_RATE);
}

}  // namespace panamoe
