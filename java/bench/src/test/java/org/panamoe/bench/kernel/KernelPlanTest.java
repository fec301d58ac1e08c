package org.panamoe.bench.kernel;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.data.Offset.offset;

import java.util.Arrays;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.panamoe.bench.Comparison;
import org.panamoe.bench.Shape;
import org.panamoe.tensor.DType;
import org.panamoe.tensor.QuantFormat;

class KernelPlanTest {
    private static final List<KernelWork> WORKS = List.of(
            new Gemm(QuantFormat.INT8, 3, 256, 128), new RmsNorm(3, 256), new Gemm(QuantFormat.BF16, 3, 256, 128));

    @Test
    void measuresEveryCallInEveryRound() {
        var report = new KernelPlan(Shape.V3, WORKS, Caches.HOT, List.of(1, 2), "generic", 3, 0)
                .run(_ -> {})
                .json();
        assertThat(report.path("results").size()).isEqualTo(2 * 3);
        for (var result : report.path("results")) {
            assertThat(result.path("isa").asString()).isEqualTo("generic");
            assertThat(result.path("samples").size()).isEqualTo(3); // a sample in each round
            assertThat(result.path("cpu_samples").size()).isEqualTo(3);
            double median = result.path("seconds_per_call").asDouble();
            assertThat(median).isEqualTo(result.path("samples").path(1).asDouble());
            assertThat(result.path("gb_per_second").asDouble()
                            / result.path("share_of_bandwidth").asDouble())
                    .isCloseTo(result.path("limit_gb_per_second").asDouble(), offset(1e-6));
            // One sample takes 5 ms or more, and all were made of so many calls.
            int calls = result.path("calls_per_sample").asInt();
            assertThat(result.path("wall_seconds").asDouble()).isGreaterThan(calls * median);
            assertThat(result.path("cpu_seconds").asDouble()).isPositive();
        }
        var first = report.path("results").path(0);
        assertThat(first.path("threads").asInt()).isEqualTo(1);
        assertThat(first.path("limit").asString()).isEqualTo("int8");
        assertThat(first.path("limit_gflop_per_second").asDouble())
                .isEqualTo(report.path("limits")
                        .path("threads_1")
                        .path("int8_gop_per_second")
                        .asDouble());
        assertThat(report.path("results").path(3).path("limit_gflop_per_second").asDouble())
                .isEqualTo(report.path("limits")
                        .path("threads_2")
                        .path("gflop_per_second")
                        .asDouble());
        assertThat(first.path("gflop_per_second").asDouble()
                        * first.path("seconds_per_call").asDouble()
                        * 1e9)
                .isCloseTo(2.0 * 3 * 256 * 128, offset(1e-3));

        assertThat(Comparison.of(report, report, false)).hasSize(6).allSatisfy(c -> {
            assertThat(c.ratio()).isEqualTo(1);
            assertThat(c.unit()).isEqualTo("calls/s");
        });
    }

    @Test
    void whatDoesNotFitIsRefusedFirst() {
        var much = new MlaAttention(DType.F32, 1 << 16, 128, 163840, 512, 64);
        assertThatThrownBy(() -> new KernelPlan(Shape.V3, List.of(much), Caches.HOT, List.of(1), "", 1, 0).run(_ -> {}))
                .isInstanceOf(IllegalStateException.class)
                .hasMessageMatching(
                        "the inputs of these kernels need 247[0-9]{2}\\.[0-9] GB, [0-9.]+ GB are available");
        assertThatThrownBy(() -> new KernelPlan(Shape.V3, WORKS, Caches.HOT, List.of(1), "sse", 1, 0).run(_ -> {}))
                .isInstanceOf(IllegalArgumentException.class)
                .hasMessageContaining("sse");
    }

    /** Formats share nothing, works of one format all. */
    @Test
    void memoryCountsWhatWorksShareOnce() {
        var one = new Gemm(QuantFormat.BF16, 1, 1000, 2000);
        var other = new Gemm(QuantFormat.BF16, 3, 1000, 2000);
        assertThat(new KernelPlan(Shape.V3, List.of(one, other), Caches.HOT, List.of(1), "", 1, 0).memory())
                .isEqualTo(2 * 1000 * 2000 + 4 * 4 * 3000);
        assertThat(new KernelPlan(Shape.V3, List.of(one, other), Caches.COLD, List.of(1, 2), "", 1, 0).memory())
                .isEqualTo(Inputs.COLD * 9 / 8 + 2 * 4 * 4 * 3000);
    }

    @Test
    void everyFunctionHasItsWork() {
        for (var function : Function.values()) {
            assertThat(Function.of(function.toString())).isEqualTo(function);
            for (var shape : Shape.values())
                assertThat(function.works(
                                shape, List.of(QuantFormat.INT4, QuantFormat.F32), List.of(1, 7), List.of(64)))
                        .isNotEmpty()
                        .allSatisfy(work -> {
                            assertThat(work.function()).isEqualTo(function.toString());
                            assertThat(work.bytes()).isPositive();
                            assertThat(Arrays.asList(1, 7)).contains(work.rows());
                        });
        }
        assertThatThrownBy(() -> Function.of("gem")).hasMessageStartingWith("function gem: there are rms_norm, gemm, ");
    }
}
