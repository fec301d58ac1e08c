package org.panamoe.backend;

import org.panamoe.tensor.DType;
import org.panamoe.tensor.Tensor;

/**
 * One layer's part of the latent cache.
 *
 * @param pages_SBX S pages of B positions of X = C + R values: the normed latent, then the rotated key; F32, or BF16
 *     where the back end has it (the reference and CUDA do)
 */
public record LatentPages(Tensor pages_SBX) {
    /** What panamoe.h calls it. */
    int cache() {
        return pages_SBX.dtype == DType.BF16 ? Header.CACHE_BF16 : Header.CACHE_F32;
    }
}
