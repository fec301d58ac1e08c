package org.panamoe.backend;

import org.panamoe.tensor.Tensor;

/**
 * Who computes what in one layer, in the memory of the back end. Of the N = T * K routed rows, sorted by expert, and by
 * token within an expert, row n is token {@code token_N[n]}, counts {@code weight_N[n]}, and belongs to the expert e with
 * {@code offset_E1[e] <= n < offset_E1[e + 1]}.
 *
 * @param expert_TK for each token its experts, best first; I32
 * @param share_TK their shares; F32
 */
public record Routes(Tensor expert_TK, Tensor share_TK, Tensor offset_E1, Tensor token_N, Tensor weight_N) {}
