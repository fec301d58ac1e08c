package org.panamoe.benchmarks;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.within;

import java.io.IOException;
import org.junit.jupiter.api.Test;
import org.panamoe.lab.routing.Metric;

class RoutingReplayBenchmarkTest {
    @Test
    void whatIsMeasuredIsRight() throws IOException {
        var benchmark = new RoutingReplayBenchmark();
        benchmark.open(8192, 4096);
        try {
            var rates = new RoutingReplayBenchmark.Rates();
            var recorded = benchmark.recorded(rates);
            assertThat(rates.millionTokenLayers).isCloseTo(8192 * 4 / 1e6, within(1e-9));
            // Each token has one expert in each group, and any of it is as likely: 5 deviations of 256 each.
            assertThat(recorded.mean(Metric.NODES_PER_TOKEN)).hasValue(8);
            assertThat(recorded.mean(Metric.MAX_VIO_GLOBAL)).hasValueCloseTo(0.0, within(5 / 16.0));
            var synthetic = benchmark.synthetic(rates);
            assertThat(rates.millionTokenLayers).isCloseTo((8192 + 4096) * 4 / 1e6, within(1e-9));
            assertThat(synthetic.mean(Metric.NODES_PER_TOKEN).orElseThrow()).isBetween(1.0, 4.0);
            assertThat(benchmark.liveHook()).isEqualTo(1);
            assertThat(benchmark.liveHook()).isEqualTo(2);
        } finally {
            benchmark.close();
        }
    }
}
