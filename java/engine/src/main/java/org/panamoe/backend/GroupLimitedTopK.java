package org.panamoe.backend;

import java.util.Arrays;

/**
 * How K of E experts are chosen for one token: the definition behind {@link Kernels#route}. Experts lie in groups of
 * E / groups; the best groups stay open, and of their experts the K best are chosen. DeepSeek-V3 (report, section 2.1.2):
 * a group is worth its two best experts together, shares are normed and scaled. V2: its best one, shares are scaled.
 *
 * <p>What is compared is score + bias. A NaN counts as -infinity, and among equals the lower id wins, for groups and
 * experts alike; no expert is chosen twice.
 *
 * @param keptGroups how many groups stay open; with all of them nothing is limited
 * @param groupBest how many of its best experts a group is worth: 1 or 2
 * @param normalize whether the shares of a token are divided by their sum
 * @param scale what shares are multiplied with in the end: routed_scaling_factor
 */
public record GroupLimitedTopK(
        int experts, int chosen, int groups, int keptGroups, int groupBest, boolean normalize, float scale) {
    private static final float EPSILON = 1e-20f;

    /** What {@link #choose} works in. */
    public static final class Room {
        private final float[] biased_E;
        private final boolean[] taken_E;
        private final float[] worth_G;
        private final boolean[] open_G;

        public Room(GroupLimitedTopK rule) {
            biased_E = new float[rule.experts];
            taken_E = new boolean[rule.experts];
            worth_G = new float[rule.groups];
            open_G = new boolean[rule.groups];
        }
    }

    /** @throws IllegalArgumentException if the numbers do not fit each other */
    public GroupLimitedTopK {
        boolean fits = groups >= 1
                && keptGroups >= 1
                && keptGroups <= groups
                && experts % groups == 0
                && (groupBest == 1 || groupBest == 2)
                && (keptGroups == groups || groupBest <= experts / groups)
                && chosen >= 1
                && chosen <= experts / groups * keptGroups;
        if (!fits)
            throw new IllegalArgumentException(
                    "%d of %d experts, %d of %d groups, a group worth its %d best: these do not fit each other"
                            .formatted(chosen, experts, keptGroups, groups, groupBest));
    }

    /**
     * The bias says who is chosen, never how much it counts: shares come from the scores alone.
     *
     * @param score_E what the gate says, after the sigmoid or softmax
     * @param expert_K filled with the chosen experts, best first
     * @param share_K filled with their shares
     */
    public void choose(float[] score_E, float[] bias_E, int[] expert_K, float[] share_K) {
        choose(score_E, bias_E, expert_K, share_K, new Room(this));
    }

    /** The same in memory that one caller uses again and again. */
    public void choose(float[] score_E, float[] bias_E, int[] expert_K, float[] share_K, Room room) {
        float[] biased_E = room.biased_E;
        for (int e = 0; e < experts; e++) biased_E[e] = number(score_E[e] + bias_E[e]);
        boolean[] taken_E = room.taken_E;
        Arrays.fill(taken_E, false);
        if (keptGroups < groups) closeGroups(room);
        float sum = 0;
        for (int k = 0; k < chosen; k++) {
            int best = best(biased_E, taken_E);
            taken_E[best] = true;
            expert_K[k] = best;
            sum += score_E[best];
        }
        float norm = normalize ? sum + EPSILON : 1;
        for (int k = 0; k < chosen; k++) share_K[k] = score_E[expert_K[k]] / norm * scale;
    }

    private void closeGroups(Room room) {
        int size = experts / groups;
        for (int g = 0; g < groups; g++) room.worth_G[g] = worth(room.biased_E, g * size, (g + 1) * size);
        Arrays.fill(room.open_G, false);
        for (int kept = 0; kept < keptGroups; kept++) room.open_G[best(room.worth_G, room.open_G)] = true;
        for (int g = 0; g < groups; g++) if (!room.open_G[g]) Arrays.fill(room.taken_E, g * size, (g + 1) * size, true);
    }

    private float worth(float[] biased_E, int from, int to) {
        float first = Float.NEGATIVE_INFINITY, second = Float.NEGATIVE_INFINITY;
        for (int e = from; e < to; e++) {
            second = Math.max(second, Math.min(first, biased_E[e]));
            first = Math.max(first, biased_E[e]);
        }
        return groupBest == 1 ? first : number(first + second);
    }

    /** The index of the largest that is not taken, the lowest one among equals. */
    private static int best(float[] values, boolean[] taken) {
        int best = -1;
        for (int i = 0; i < values.length; i++) if (!taken[i] && (best < 0 || values[i] > values[best])) best = i;
        return best;
    }

    private static float number(float value) {
        return Float.isNaN(value) ? Float.NEGATIVE_INFINITY : value;
    }
}
