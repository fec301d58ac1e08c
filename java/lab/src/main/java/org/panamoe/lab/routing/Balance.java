package org.panamoe.lab.routing;

import com.google.common.math.Stats;
import java.util.Arrays;

/** How evenly rows are spread over experts, or over ranks, from their counts alone. See {@link Metric}. */
public record Balance(
        double maxVio, double minVio, double cv, double entropy, double gini, long dead, double top5Share) {

    /** @throws IllegalArgumentException if there are no rows at all, of which nothing can be said */
    public static Balance of(long[] count_E) {
        long[] sorted_E = count_E.clone();
        Arrays.sort(sorted_E);
        int E = sorted_E.length;
        long sum = Arrays.stream(sorted_E).sum();
        if (sum <= 0 || sorted_E[0] < 0)
            throw new IllegalArgumentException("%d experts with %d rows in all, %d the least: not a load"
                    .formatted(E, sum, E == 0 ? 0 : sorted_E[0]));
        double mean = (double) sum / E, entropy = 0, ranked = 0;
        long dead = 0, top = 0;
        int topExperts = Math.ceilDiv(E, 20);
        for (int i = 0; i < E; i++) {
            double share = (double) sorted_E[i] / sum;
            if (share > 0) entropy -= share * Math.log(share);
            if (sorted_E[i] == 0) dead++;
            if (i >= E - topExperts) top += sorted_E[i];
            ranked += (2.0 * i + 1 - E) * sorted_E[i]; // sum over i, j of |c_i - c_j| is twice this
        }
        return new Balance(
                sorted_E[E - 1] / mean - 1,
                1 - sorted_E[0] / mean,
                Stats.of(sorted_E).populationStandardDeviation() / mean,
                E == 1 ? 1 : entropy / Math.log(E),
                ranked / ((double) E * sum),
                dead,
                (double) top / sum);
    }

    /** max / mean - 1. */
    static double maxVio(long[] count_E) {
        long max = 0, sum = 0;
        for (long count : count_E) {
            max = Math.max(max, count);
            sum += count;
        }
        return sum == 0 ? 0 : (double) max * count_E.length / sum - 1;
    }
}
