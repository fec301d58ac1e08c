package org.panamoe.benchmarks;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.within;

import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;
import org.panamoe.checkpoint.Footprint;
import org.panamoe.checkpoint.ModelConfig;
import org.panamoe.tensor.DType;
import org.panamoe.tensor.QuantFormat;

class DecodeBenchmarkTest {
    /** The slice on which other engines were measured: 4.10 G parameters, 1.402 G read for each decoded token. */
    @Test
    void theSliceIsTheOneOthersWereMeasuredOn() {
        var footprint = Footprint.of(DecodeBenchmark.slice(QuantFormat.BF16), DType.BF16);
        assertThat(footprint.parameters() / 1e9).isBetween(4.095, 4.105);
        assertThat(footprint.activeParameters() / 1e9).isBetween(1.400, 1.404);
    }

    @ParameterizedTest
    @EnumSource(names = {"BF16", "F8_E4M3_B128"})
    void everyCallDecodesOneToken(QuantFormat format) {
        var benchmark = new DecodeBenchmark();
        benchmark.format = format;
        benchmark.open(small(format));
        try {
            benchmark.measureLimits();
            var rates = new Rates();
            double bytes = 0;
            for (int token = 1; token <= 5; token++) {
                assertThat(benchmark.decode(rates)).isEqualTo(token);
                bytes += benchmark.footprint().bytesPerToken(token);
            }
            assertThat(rates.GB).isCloseTo(bytes / 1e9, within(1e-9));
            assertThat(rates.ofBandwidth).isPositive();
            // Two operations for each weight of a product, and little attention.
            assertThat(rates.GFLOP * 1e9 / (5 * 2.0 * benchmark.footprint().activeParameters()))
                    .isBetween(0.9, 1.1);
            rates.endIteration();
            assertThat(rates.cpuSeconds).isPositive();
        } finally {
            benchmark.close();
        }
    }

    private static ModelConfig small(QuantFormat format) {
        var c = DecodeBenchmark.slice(format);
        return new ModelConfig(
                c.modelType(),
                512,
                256,
                2,
                0,
                1,
                1,
                256,
                128,
                16,
                1,
                4,
                4,
                2,
                c.topkMethod(),
                true,
                2.5f,
                4,
                128,
                128,
                32,
                32,
                32,
                c.rmsNormEps(),
                c.ropeTheta(),
                null,
                4096,
                false,
                0,
                c.eosTokenId(),
                c.quantizationConfig());
    }
}
