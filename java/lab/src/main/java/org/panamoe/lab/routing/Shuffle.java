package org.panamoe.lab.routing;

import java.util.SplittableRandom;

/** Orders that a seed decides. */
final class Shuffle {
    private Shuffle() {}

    /** 0 to n - 1: in this order for the seed 0, else in one of Fisher and Yates. */
    static int[] order(int n, long seed) {
        int[] order = new int[n];
        for (int i = 0; i < n; i++) order[i] = i;
        if (seed == 0) return order;
        var random = new SplittableRandom(seed);
        for (int i = n - 1; i > 0; i--) {
            int j = random.nextInt(i + 1);
            int swapped = order[i];
            order[i] = order[j];
            order[j] = swapped;
        }
        return order;
    }
}
