package org.panamoe.lab.routing;

import com.google.common.collect.ImmutableMap;

/** What came of one layer: metrics, the curve of MaxVio batch by batch, and what each expert computed. */
public final class LayerOutcome {
    /** Without those that could not be measured. */
    public final ImmutableMap<Metric, Double> metrics;
    /** MaxVio of each batch, from the first one on. */
    public final Curve maxVio;
    /** Rows that each expert computed of the measured tokens. */
    public final long[] count_E;
    /** The bias of each expert in the end; empty if the method has none. */
    public final float[] bias_E;
    /** Tokens that were measured. */
    public final long tokens;

    LayerOutcome(ImmutableMap<Metric, Double> metrics, Curve maxVio, long[] count_E, float[] bias_E, long tokens) {
        this.metrics = metrics;
        this.maxVio = maxVio;
        this.count_E = count_E;
        this.bias_E = bias_E;
        this.tokens = tokens;
    }
}
