package org.panamoe.benchmarks;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.data.Offset.offset;

import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;
import org.panamoe.bench.kernel.Caches;
import org.panamoe.bench.kernel.GroupedGemm;
import org.panamoe.tensor.QuantFormat;

class GroupedGemmBenchmarkTest {
    @ParameterizedTest
    @EnumSource
    void ratesCountEveryByteAndOperationOnce(QuantFormat format) {
        var benchmark = new GroupedGemmBenchmark();
        benchmark.format = format;
        benchmark.rows = 2;
        benchmark.expert = "256x128";
        benchmark.caches = Caches.HOT;
        benchmark.open();
        try {
            assertThat(benchmark.work).isEqualTo(new GroupedGemm(format, 8, 2, 128, 256));
            benchmark.measureLimits();
            var rates = new Rates();
            benchmark.groupedGemm(rates);
            benchmark.groupedGemm(rates);
            long weight = switch (format) {
                case F32 -> 256 * 128 * 4;
                case BF16 -> 256 * 128 * 2;
                case F8_E4M3_B128 -> 256 * 128 + 2 * 4;
                case INT8 -> 256 * (128 + 4 * 2);
                case INT4 -> 256 * (64 + 4 * 2);
            };
            assertThat(rates.GB * 1e9).isCloseTo(2.0 * (8 * weight + 16 * (256 + 128) * 4), offset(1e-3));
            assertThat(rates.GFLOP * 1e9).isCloseTo(2 * (2.0 * 16 * 256 * 128), offset(1e-3));
            // The shares are the same sums in another unit: what this machine can do in a second.
            assertThat(rates.ofBandwidth / rates.GB).isCloseTo(1e9 / benchmark.bandwidth, offset(1e-6));
            assertThat(rates.ofFmaRate / rates.GFLOP)
                    .isCloseTo(format.integer() ? 0 : 1e9 / benchmark.fmaRate, offset(1e-6));
            assertThat(rates.ofInt8Rate / rates.GFLOP)
                    .isCloseTo(format.integer() ? 1e9 / benchmark.int8Rate : 0, offset(1e-6));
        } finally {
            benchmark.close();
        }
    }
}
