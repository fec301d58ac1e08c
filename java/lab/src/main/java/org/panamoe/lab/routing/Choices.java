package org.panamoe.lab.routing;

import java.util.Arrays;
import org.panamoe.backend.GroupLimitedTopK;

/**
 * Who computes what in one batch: token t goes to the experts {@code expert_N[offset_T1[t]]} to {@code
 * expert_N[offset_T1[t + 1] - 1]}. A method that chooses by token gives each token K; one that drops, or lets experts
 * choose, gives any number.
 */
public final class Choices {
    private final GroupLimitedTopK rule;
    private final float[] none_E;
    private final float[] score_E;
    private final int[] expert_K;
    private final float[] share_K;
    int[] expert_N = new int[0];
    int[] offset_T1 = new int[1];
    private int T;
    private int dropped;

    public Choices(GroupLimitedTopK rule) {
        this.rule = rule;
        none_E = new float[rule.experts()];
        score_E = new float[rule.experts()];
        expert_K = new int[rule.chosen()];
        share_K = new float[rule.chosen()];
    }

    /** Forgets what was chosen. */
    public void clear() {
        T = 0;
        dropped = 0;
    }

    /** The next token's experts are the first {@code count} of these; the others of its K are dropped. */
    public void add(int[] experts, int count) {
        reserve(T + 1, offset_T1[T] + count);
        System.arraycopy(experts, 0, expert_N, offset_T1[T], count);
        offset_T1[T + 1] = offset_T1[T] + count;
        T++;
    }

    /** Says that so many slots, wanted by tokens, are computed by nobody. */
    public void drop(int slots) {
        dropped += slots;
    }

    /** Every token of the batch takes the K best by score + bias, by the engine's own rule. */
    public void takeBest(Batch batch, float[] bias_E) {
        takeBest(batch.score_TE, batch.T, bias_E);
    }

    /** The same without a bias. */
    public void takeBest(Batch batch) {
        takeBest(batch.score_TE, batch.T, none_E);
    }

    /** @param score_TE what is compared; at least T rows */
    public void takeBest(float[] score_TE, int tokens, float[] bias_E) {
        clear();
        int E = rule.experts();
        for (int t = 0; t < tokens; t++) {
            System.arraycopy(score_TE, t * E, score_E, 0, E);
            rule.choose(score_E, bias_E, expert_K, share_K);
            add(expert_K, expert_K.length);
        }
    }

    /** Every token of the batch keeps what was recorded. */
    public void takeRecorded(Batch batch) {
        clear();
        int N = batch.T * batch.K;
        reserve(batch.T, N);
        System.arraycopy(batch.expert_TK, 0, expert_N, 0, N);
        for (int t = 0; t <= batch.T; t++) offset_T1[t] = t * batch.K;
        T = batch.T;
    }

    public int tokens() {
        return T;
    }

    /** Where the experts of a token begin among all; those of the one after the last are the end. */
    public int offset(int token) {
        return offset_T1[token];
    }

    /** The expert of a row; rows are in token order. */
    public int expert(int row) {
        return expert_N[row];
    }

    /** Rows that are computed. */
    public int size() {
        return offset_T1[T];
    }

    /** Slots that are computed by nobody. */
    public int dropped() {
        return dropped;
    }

    /** Adds the rows of tokens [from, to) to the counts of their experts. */
    public void count(int from, int to, long[] count_E) {
        for (int n = offset_T1[from]; n < offset_T1[to]; n++) count_E[expert_N[n]]++;
    }

    /** How many rows each expert has. */
    public long[] count() {
        long[] count_E = new long[rule.experts()];
        count(0, T, count_E);
        return count_E;
    }

    private void reserve(int tokens, int rows) {
        if (offset_T1.length <= tokens)
            offset_T1 = Arrays.copyOf(offset_T1, Math.max(2 * offset_T1.length, tokens + 1));
        if (expert_N.length < rows) expert_N = Arrays.copyOf(expert_N, Math.max(2 * expert_N.length, rows));
    }
}
