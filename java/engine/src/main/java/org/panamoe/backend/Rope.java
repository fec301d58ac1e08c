package org.panamoe.backend;

import org.panamoe.tensor.Tensor;

/**
 * Rotary position tables in the memory of the back end.
 *
 * @param cos_SZ F32: cosine for each position and rotated pair, any gain included
 * @param sin_SZ F32: sine, likewise
 */
public record Rope(Tensor cos_SZ, Tensor sin_SZ) {}
