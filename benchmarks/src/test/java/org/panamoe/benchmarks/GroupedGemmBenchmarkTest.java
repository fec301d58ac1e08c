package org.panamoe.benchmarks;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.data.Offset.offset;

import java.lang.foreign.Arena;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;
import org.panamoe.backend.Backend;
import org.panamoe.backend.ExpertTable;
import org.panamoe.tensor.DType;
import org.panamoe.tensor.QuantFormat;
import org.panamoe.tensor.Tensor;

class GroupedGemmBenchmarkTest {
    @ParameterizedTest
    @EnumSource
    void whatIsMeasuredIsTheProduct(QuantFormat format) {
        var benchmark = benchmark(format, 3, "130x192");
        try (var reference = Backend.require("reference");
                var arena = Arena.ofConfined()) {
            benchmark.groupedGemm(new GroupedGemmBenchmark.Rates());
            var expected_NF = Tensor.allocate(arena, DType.F32, 24, 130);
            reference.groupedGemm(
                    expected_NF,
                    benchmark.x_ND,
                    new ExpertTable(reference, arena, benchmark.w_E.w_E),
                    benchmark.offset_E1);
            for (int n = 0; n < 24; n++) {
                double rms = 0;
                for (int f = 0; f < 130; f++) rms += Math.pow(expected_NF.getFloat(n * 130 + f), 2) / 130;
                rms = Math.sqrt(rms);
                assertThat(rms).isGreaterThan(0);
                for (int f = 0; f < 130; f++)
                    // fp32 in and out, sums of 192: rounding stays far below 1e-5 of the row.
                    assertThat(benchmark.y_NF.getFloat(n * 130 + f))
                            .as("%s, row %d, column %d", format, n, f)
                            .isCloseTo(expected_NF.getFloat(n * 130 + f), offset((float) (1e-5 * rms)));
            }
        } finally {
            benchmark.close();
        }
    }

    @ParameterizedTest
    @EnumSource
    void ratesCountEveryByteAndOperationOnce(QuantFormat format) {
        var benchmark = benchmark(format, 2, "256x128");
        try {
            benchmark.measureLimits();
            var rates = new GroupedGemmBenchmark.Rates();
            benchmark.groupedGemm(rates);
            benchmark.groupedGemm(rates);
            long weight = switch (format) {
                case F32 -> 256 * 128 * 4;
                case BF16 -> 256 * 128 * 2;
                case F8_E4M3_B128 -> 256 * 128 + 2 * 4;
            };
            assertThat(rates.GB * 1e9).isCloseTo(2.0 * (8 * weight + 16 * (256 + 128) * 4), offset(1e-3));
            assertThat(rates.GFLOP * 1e9).isCloseTo(2 * (2.0 * 16 * 256 * 128), offset(1e-3));
            // The shares are the same sums in another unit: what this machine can do in a second.
            assertThat(rates.ofBandwidth / rates.GB).isCloseTo(1e9 / benchmark.bandwidth, offset(1e-6));
            assertThat(rates.ofFmaRate / rates.GFLOP).isCloseTo(1e9 / benchmark.fmaRate, offset(1e-6));
        } finally {
            benchmark.close();
        }
    }

    private static GroupedGemmBenchmark benchmark(QuantFormat format, int rows, String expert) {
        var benchmark = new GroupedGemmBenchmark();
        benchmark.format = format;
        benchmark.rows = rows;
        benchmark.expert = expert;
        benchmark.open();
        return benchmark;
    }
}
