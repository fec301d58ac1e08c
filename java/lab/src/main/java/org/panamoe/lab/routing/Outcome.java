package org.panamoe.lab.routing;

import com.google.common.collect.ImmutableSortedMap;
import java.util.OptionalDouble;

/** What came of one method on one trace with one seed: for each layer by its number. */
public record Outcome(MethodSpec spec, long seed, ImmutableSortedMap<Integer, LayerOutcome> layers) {
    /** @throws IllegalArgumentException if the trace has no such layer */
    public LayerOutcome layer(int number) {
        var layer = layers.get(number);
        if (layer == null)
            throw new IllegalArgumentException("no layer %d among %s".formatted(number, layers.keySet()));
        return layer;
    }

    /** The mean over layers, as the papers report it; empty if it could not be measured. */
    public OptionalDouble mean(Metric metric) {
        return layers.values().stream()
                .filter(layer -> layer.metrics.containsKey(metric))
                .mapToDouble(layer -> layer.metrics.getOrDefault(metric, Double.NaN))
                .average();
    }

    /** MaxVio of each batch, the mean over layers; as many points as the shortest layer has. */
    public double[] maxVio() {
        double[][] curves =
                layers.values().stream().map(layer -> layer.maxVio.points()).toArray(double[][]::new);
        int length =
                java.util.Arrays.stream(curves).mapToInt(c -> c.length).min().orElse(0);
        double[] mean = new double[length];
        for (double[] curve : curves) for (int i = 0; i < length; i++) mean[i] += curve[i] / curves.length;
        return mean;
    }
}
