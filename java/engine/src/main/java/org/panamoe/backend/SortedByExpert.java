package org.panamoe.backend;

import java.util.Arrays;

/** Choices, which come in the order of the tokens, sorted by expert: what {@link Routes} holds, on the host. */
public final class SortedByExpert {
    public final int[] offset_E1;
    public final int[] token_N;
    public final float[] weight_N;
    private final int[] next_E;
    private final int K;

    /** Room for the choices of T tokens, to be used again and again. */
    public SortedByExpert(int T, int E, int K) {
        offset_E1 = new int[E + 1];
        token_N = new int[T * K];
        weight_N = new float[T * K];
        next_E = new int[E];
        this.K = K;
    }

    /** A counting sort: within an expert, tokens stay in order. */
    public void sort(int[] expert_TK, float[] share_TK) {
        int E = next_E.length;
        Arrays.fill(offset_E1, 0);
        for (int e : expert_TK) offset_E1[e + 1]++;
        for (int e = 0; e < E; e++) offset_E1[e + 1] += offset_E1[e];
        System.arraycopy(offset_E1, 0, next_E, 0, E);
        for (int i = 0; i < expert_TK.length; i++) {
            int n = next_E[expert_TK[i]]++;
            token_N[n] = i / K;
            weight_N[n] = share_TK[i];
        }
    }
}
