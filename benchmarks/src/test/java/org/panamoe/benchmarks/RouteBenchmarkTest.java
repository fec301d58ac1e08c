package org.panamoe.benchmarks;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.data.Offset.offset;

import org.junit.jupiter.api.Test;

class RouteBenchmarkTest {
    @Test
    void ratesCountScoresAndRoutesOnce() {
        var benchmark = new RouteBenchmark();
        benchmark.tokens = 5;
        benchmark.open();
        try {
            benchmark.measureLimits();
            var rates = new Rates();
            benchmark.route(rates);
            // Scores and bias; experts, shares, tokens and weights; offsets.
            assertThat(rates.GB * 1e9).isCloseTo(4.0 * (5 * 256 + 256 + 4 * 5 * 8 + 257), offset(1e-3));
            assertThat(rates.GFLOP * 1e9).isCloseTo(5.0 * (256 + 3 * 8), offset(1e-3));
            assertThat(rates.ofBandwidth / rates.GB).isCloseTo(1e9 / benchmark.bandwidth, offset(1e-6));
        } finally {
            benchmark.close();
        }
    }
}
