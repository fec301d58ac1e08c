package org.panamoe.bench;

import com.google.common.math.Quantiles;
import java.util.List;

/**
 * Times of the same thing, in seconds. The median, and the interval in which the true one lies with a probability of about
 * 95 %, whatever the distribution: between two of the samples, by their ranks.
 */
public record Samples(List<Double> seconds) {
    public Samples {
        seconds = seconds.stream().sorted().toList();
        if (seconds.isEmpty()) throw new IllegalArgumentException("no samples");
    }

    public double median() {
        return Quantiles.median().compute(seconds);
    }

    public double low() {
        return seconds.get(Math.max(0, (int) Math.floor(middle() - reach())));
    }

    public double high() {
        return seconds.get(Math.min(seconds.size() - 1, (int) Math.ceil(middle() + reach())));
    }

    /** Whether {@link #low} and {@link #high} mean what they say: of fewer than six not even the smallest and the largest do. */
    public boolean enough() {
        return seconds.size() >= 6;
    }

    private double middle() {
        return (seconds.size() - 1) / 2.0;
    }

    /** 1.96 standard deviations of how many samples lie below the median. */
    private double reach() {
        return 0.98 * Math.sqrt(seconds.size());
    }
}
