// latent_append: writes norm(kv[0..C)) and rope(kv[C..C+R)) of each row to its place in the paged cache.
//
// Bound by memory and tiny: T * (C + R) floats in and out. A piece is some rows; no two name the same place.
#include "norm.hpp"
#include "tiles.hpp"

namespace panamoe::PANAMOE_ISA {

void latent_append(const LatentAppend &a, int64_t from, int64_t to) {
    int64_t X = a.C + a.R;
    with_vector_format(a.norm.format, [&](auto format) {
        for (int64_t t = from; t < to; t++) {
            int64_t position = a.position[t];
            int64_t page = a.table[a.request[t] * a.M + position / a.B];
            float *row = a.pages + (page * a.B + position % a.B) * X;
            normalize<decltype(format)>(row, a.kv + t * X, a.norm, a.eps);
            rotate(row + a.C, a.kv + t * X + a.C, a.rope, position);
        }
    });
}

}  // namespace panamoe::PANAMOE_ISA
