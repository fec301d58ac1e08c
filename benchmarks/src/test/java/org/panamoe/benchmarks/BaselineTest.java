package org.panamoe.benchmarks;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.data.Offset.offset;

import java.lang.foreign.Arena;
import java.util.Arrays;
import java.util.stream.Stream;
import org.junit.jupiter.api.Assumptions;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.Arguments;
import org.junit.jupiter.params.provider.MethodSource;
import org.panamoe.bench.Machine;
import org.panamoe.bench.RandomWeights;
import org.panamoe.tensor.DType;
import org.panamoe.tensor.Tensor;

class BaselineTest {
    static Stream<Arguments> baselinesAndShapes() {
        int[][] shapes = {{1, 192, 130}, {5, 69, 7}, {33, 576, 64}, {2, 7, 3}};
        return Arrays.stream(Baseline.values())
                .flatMap(baseline -> Arrays.stream(shapes)
                        .flatMap(shape -> Stream.of(1, 3)
                                .map(threads -> Arguments.of(baseline, shape[0], shape[1], shape[2], threads))));
    }

    @ParameterizedTest
    @MethodSource("baselinesAndShapes")
    void everyBaselineIsTheSameProduct(Baseline baseline, int T, int D, int F, int threads) {
        try (var gemm = present(baseline, threads);
                var arena = Arena.ofShared()) {
            var random = new RandomWeights(7);
            var x_TD = Tensor.allocate(arena, DType.F32, T, D);
            var w_FD = Tensor.allocate(arena, DType.F32, F, D);
            var y_TF = Tensor.allocate(arena, DType.F32, T, F);
            random.fill(x_TD);
            random.fill(w_FD);
            gemm.gemm(y_TF, x_TD, w_FD);
            for (int t = 0; t < T; t++) {
                var expected = new double[F];
                double rms = 0;
                for (int f = 0; f < F; f++) {
                    for (int d = 0; d < D; d++)
                        expected[f] += (double) x_TD.getFloat((long) t * D + d) * w_FD.getFloat((long) f * D + d);
                    rms += expected[f] * expected[f] / F;
                }
                rms = Math.sqrt(rms);
                for (int f = 0; f < F; f++)
                    // fp32 in and out, sums of 576 or fewer: rounding stays below 1e-5 of the row.
                    assertThat((double) y_TF.getFloat((long) t * F + f))
                            .as("%s, row %d, column %d", gemm.describe(), t, f)
                            .isCloseTo(expected[f], offset(1e-5 * rms));
            }
        }
    }

    @Test
    void openBlasIsToldTheCpu() {
        var flags = Machine.read().flags();
        Assumptions.assumeTrue(flags.contains("avx2"), "a CPU without AVX2 is left to OpenBLAS");
        try (var gemm = present(Baseline.OPENBLAS, 2)) {
            assertThat(gemm.describe())
                    .contains(flags.contains("avx512f") ? "SkylakeX" : "Haswell")
                    .endsWith("threads=2");
        }
    }

    @Test
    void whatIsAbsentSaysWhy() {
        var nowhere = new SystemLibrary("libpanamoe_nowhere.so.1", "libpanamoe_nowhere.so.0");
        assertThat(nowhere.absence())
                .hasValue(
                        "the system's loader cannot load libpanamoe_nowhere.so.1 or libpanamoe_nowhere.so.0, or what it needs");
        for (var baseline : Baseline.values())
            baseline.absence()
                    .ifPresent(reason -> assertThatThrownBy(() -> baseline.open(1))
                            .isInstanceOf(IllegalStateException.class)
                            .hasMessage("%s is absent: %s", baseline, reason));
    }

    private static Baseline.Gemm present(Baseline baseline, int threads) {
        baseline.absence().ifPresent(reason -> Assumptions.abort(baseline + ": " + reason));
        return baseline.open(threads);
    }
}
