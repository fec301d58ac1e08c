package org.panamoe.backend;

import org.panamoe.tensor.Tensor;

/**
 * One layer's part of the latent cache.
 *
 * @param pages_SBX S pages of B positions of X = C + R values: the normed latent, then the rotated key; F32
 */
public record LatentPages(Tensor pages_SBX) {}
