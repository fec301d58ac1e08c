package org.panamoe.lab.routing;

/** Order statistics. */
final class Ranks {
    private Ranks() {}

    /**
     * The value that {@code larger} others precede when the first n are sorted, largest first; they are left in another
     * order. Hoare's selection: time is linear in n.
     */
    static float largest(float[] values, int n, int larger) {
        int from = 0, to = n - 1;
        while (from < to) {
            float pivot = values[(from + to) >>> 1];
            int i = from, j = to;
            while (i <= j) {
                while (values[i] > pivot) i++;
                while (values[j] < pivot) j--;
                if (i <= j) {
                    float swapped = values[i];
                    values[i++] = values[j];
                    values[j--] = swapped;
                }
            }
            if (larger <= j) to = j;
            else if (larger >= i) from = i;
            else return values[larger];
        }
        return values[larger];
    }
}
