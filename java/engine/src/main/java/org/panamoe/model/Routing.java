package org.panamoe.model;

import org.panamoe.tensor.Tensor;

/**
 * Who computes what in one layer: N = T * K rows, sorted by expert, and by token within an expert. Row n is token
 * {@code token_N[n]}, counts {@code weight_N[n]}, and belongs to the expert e with
 * {@code offset_E1[e] <= n < offset_E1[e + 1]}. All in the memory of the back end.
 */
record Routing(Tensor offset_E1, Tensor token_N, Tensor weight_N) {
    /** A counting sort of what comes in token order, K experts for each token. */
    static Routing of(int[] expert_TK, float[] share_TK, int E, int K, Workspace workspace) {
        int N = expert_TK.length;
        int[] offset_E1 = new int[E + 1];
        for (int e : expert_TK) offset_E1[e + 1]++;
        for (int e = 0; e < E; e++) offset_E1[e + 1] += offset_E1[e];
        int[] next_E = offset_E1.clone();
        int[] token_N = new int[N];
        float[] weight_N = new float[N];
        for (int i = 0; i < N; i++) {
            int n = next_E[expert_TK[i]]++;
            token_N[n] = i / K;
            weight_N[n] = share_TK[i];
        }
        return new Routing(
                workspace.offset_E1.fill(E + 1, offset_E1),
                workspace.token_N.fill(N, token_N),
                workspace.weight_N.fill(N, weight_N));
    }
}
