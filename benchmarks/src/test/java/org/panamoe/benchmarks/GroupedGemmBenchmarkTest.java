package org.panamoe.benchmarks;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.data.Offset.offset;

import java.lang.foreign.Arena;
import java.util.Arrays;
import java.util.stream.Stream;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.Arguments;
import org.junit.jupiter.params.provider.EnumSource;
import org.junit.jupiter.params.provider.MethodSource;
import org.panamoe.backend.Backend;
import org.panamoe.backend.ExpertTable;
import org.panamoe.tensor.DType;
import org.panamoe.tensor.QuantFormat;
import org.panamoe.tensor.Tensor;

class GroupedGemmBenchmarkTest {
    static Stream<Arguments> backendsAndFormats() {
        return Host.backends()
                .flatMap(backend -> Arrays.stream(QuantFormat.values())
                        .filter(format -> !format.integer() || backend.equals("cpu")) // the only one that has them
                        .map(format -> Arguments.of(backend, format)));
    }

    @ParameterizedTest
    @MethodSource("backendsAndFormats")
    void whatIsMeasuredIsTheProduct(String backend, QuantFormat format) {
        var benchmark = benchmark(Host.present(backend), format, 3, "130x192");
        try (var reference = Backend.require("reference");
                var arena = Arena.ofConfined()) {
            benchmark.groupedGemm(new Rates());
            var host = new Host(benchmark.kernels, arena);
            var expected_NF = Tensor.allocate(arena, DType.F32, 24, 130);
            var w_E = benchmark.w_E.w_E.stream().map(host::weight).toList();
            reference.groupedGemm(
                    expected_NF,
                    host.tensor(benchmark.x_ND),
                    new ExpertTable(reference, arena, w_E),
                    host.tensor(benchmark.offset_E1));
            var y_NF = host.tensor(benchmark.y_NF);
            for (int n = 0; n < 24; n++) {
                double rms = 0;
                for (int f = 0; f < 130; f++) rms += Math.pow(expected_NF.getFloat(n * 130 + f), 2) / 130;
                rms = Math.sqrt(rms);
                assertThat(rms).isGreaterThan(0);
                for (int f = 0; f < 130; f++)
                    // fp32 in and out, sums of 192: rounding stays far below 1e-5 of the row.
                    assertThat(y_NF.getFloat(n * 130 + f))
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
        var benchmark = benchmark("cpu", format, 2, "256x128");
        try {
            benchmark.measureLimits();
            var rates = new Rates();
            benchmark.groupedGemm(rates);
            benchmark.groupedGemm(rates);
            long weight = switch (format) {
                case F32 -> 256 * 128 * 4;
                case BF16 -> 256 * 128 * 2;
                case F8_E4M3_B128 -> 256 * 128 + 2 * 4;
                case INT8 -> 256 * (128 + 4 * 4);
                case INT4 -> 256 * (64 + 4 * 4);
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

    private static GroupedGemmBenchmark benchmark(String backend, QuantFormat format, int rows, String expert) {
        var benchmark = new GroupedGemmBenchmark();
        benchmark.backend = backend;
        benchmark.format = format;
        benchmark.rows = rows;
        benchmark.expert = expert;
        benchmark.open();
        return benchmark;
    }
}
