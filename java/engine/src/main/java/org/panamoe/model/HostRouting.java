package org.panamoe.model;

import org.panamoe.backend.SortedByExpert;

/** The routing of one layer and step as Java makes it: memory that all layers use in turn. */
final class HostRouting {
    final float[] score_TE;
    final int[] expert_TK;
    final float[] share_TK;
    final SortedByExpert sorted;

    /** Of one token at a time. */
    final float[] score_E, share_K;

    final int[] expert_K;

    HostRouting(int T, int E, int K) {
        score_TE = new float[T * E];
        expert_TK = new int[T * K];
        share_TK = new float[T * K];
        sorted = new SortedByExpert(T, E, K);
        score_E = new float[E];
        share_K = new float[K];
        expert_K = new int[K];
    }
}
