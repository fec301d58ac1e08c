package org.panamoe.benchmarks;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.data.Offset.offset;

import org.junit.jupiter.api.Test;
import org.panamoe.bench.kernel.Caches;

class MlaAttentionBenchmarkTest {
    @Test
    void ratesCountEveryLatentOnceForAllHeads() {
        var benchmark = new MlaAttentionBenchmark();
        benchmark.heads = 3;
        benchmark.depth = 130;
        benchmark.batch = 2;
        benchmark.caches = Caches.HOT;
        benchmark.open();
        try {
            benchmark.measureLimits();
            var rates = new Rates();
            benchmark.mlaAttention(rates);
            long latents = 2 * 130 * 576, queries = 2 * 3 * 576, results = 2 * 3 * 512;
            assertThat(rates.GB * 1e9).isCloseTo(4.0 * (latents + queries + results), offset(1e-3));
            assertThat(rates.GFLOP * 1e9).isCloseTo(2.0 * 2 * 3 * 130 * (576 + 512), offset(1e-3));
            assertThat(rates.ofBandwidth / rates.GB).isCloseTo(1e9 / benchmark.bandwidth, offset(1e-6));
            assertThat(rates.ofFmaRate / rates.GFLOP).isCloseTo(1e9 / benchmark.fmaRate, offset(1e-6));
        } finally {
            benchmark.close();
        }
    }
}
