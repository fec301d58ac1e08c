package org.panamoe.lab.routing;

import java.util.Arrays;

/**
 * A value over time, step by step. However long it grows it keeps a bounded number of points: when they are full, two
 * neighbours become their mean.
 */
public final class Curve {
    private static final int POINTS = 1024;

    private final double[] sums = new double[POINTS];
    private long stride = 1;
    private long steps;

    Curve() {}

    void add(double value) {
        if (steps == POINTS * stride) {
            for (int i = 0; i < POINTS / 2; i++) sums[i] = sums[2 * i] + sums[2 * i + 1];
            Arrays.fill(sums, POINTS / 2, POINTS, 0);
            stride *= 2;
        }
        sums[(int) (steps++ / stride)] += value;
    }

    /** Steps that one point is the mean of; the last one may have fewer. */
    public long stride() {
        return stride;
    }

    public double[] points() {
        double[] points = Arrays.copyOf(sums, (int) Math.ceilDiv(steps, stride));
        for (int i = 0; i < points.length; i++) points[i] /= Math.min(stride, steps - i * stride);
        return points;
    }
}
