// What the functions of this back end ask of their arguments, and what they make of them.
//
// Everything a kernel will follow as an index or a pointer is checked before anything is written.
#pragma once

#include <unistd.h>

#include "checks.hpp"
#include "cpu_context.hpp"
#include "isa.hpp"

namespace panamoe {

inline FormatSize require_format(pm_context *ctx, const char *operation, int32_t format) {
    return require_format(operation, format, ctx->isa->format_size(format));
}

inline void require_vector_format(pm_context *ctx, const char *operation, int32_t format) {
    require_vector_format(operation, format, ctx->isa->format_size(format));
}

// Every index[i] in [0, limit); limit_name as the header calls it.
inline void require_indices(const char *operation, const char *name, const int32_t *index, int64_t n,
                            const char *limit_name, int64_t limit) {
    for (int64_t i = 0; i < n; i++)
        if (index[i] < 0 || index[i] >= limit)
            fail("%s: %s[%lld] is %d, %s is %lld", operation, name, static_cast<long long>(i), index[i], limit_name,
                 static_cast<long long>(limit));
}

inline float *floats(void *data) { return static_cast<float *>(data); }
inline const float *floats(const void *data) { return static_cast<const float *>(data); }

// Eight rows or more are walked side by side, often a multiple of 4096 bytes apart: in a cache of 8 places to a set
// they would push each other out of it before their turn.
inline bool first_cache_holds_rows() {
    static const bool holds = sysconf(_SC_LEVEL1_DCACHE_ASSOC) >= 12;
    return holds;
}

inline Matrix matrix(const void *data, const void *scale, int64_t D, int32_t format) {
    return {static_cast<const Byte *>(data), static_cast<const Byte *>(scale), D, format, first_cache_holds_rows()};
}

}  // namespace panamoe
