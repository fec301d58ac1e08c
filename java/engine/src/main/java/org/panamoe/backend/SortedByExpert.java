package org.panamoe.backend;

/** Choices, which come in the order of the tokens, sorted by expert: what {@link Routes} holds, on the host. */
public final class SortedByExpert {
    public final int[] offset_E1;
    public final int[] token_N;
    public final float[] weight_N;

    /** A counting sort: within an expert, tokens stay in order. */
    public SortedByExpert(int[] expert_TK, float[] share_TK, int E, int K) {
        offset_E1 = new int[E + 1];
        token_N = new int[expert_TK.length];
        weight_N = new float[expert_TK.length];
        for (int e : expert_TK) offset_E1[e + 1]++;
        for (int e = 0; e < E; e++) offset_E1[e + 1] += offset_E1[e];
        int[] next_E = offset_E1.clone();
        for (int i = 0; i < expert_TK.length; i++) {
            int n = next_E[expert_TK[i]]++;
            token_N[n] = i / K;
            weight_N[n] = share_TK[i];
        }
    }
}
