package org.panamoe.bench.kernel;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.within;

import java.lang.foreign.Arena;
import java.util.ArrayList;
import java.util.List;
import java.util.stream.Stream;
import org.junit.jupiter.api.Assumptions;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.Arguments;
import org.junit.jupiter.params.provider.MethodSource;
import org.panamoe.backend.Backend;
import org.panamoe.backend.GroupLimitedTopK;
import org.panamoe.backend.Kernels;
import org.panamoe.backend.Scoring;
import org.panamoe.bench.Shape;
import org.panamoe.tensor.DType;
import org.panamoe.tensor.QuantFormat;
import org.panamoe.tensor.Tensor;

class KernelWorkTest {
    private static final List<String> BACKENDS = List.of("cpu", "cudaemu"); // on the host, and on a device

    /** Every function in every format, in sizes that no vector or block divides. */
    private static List<KernelWork> works() {
        var works = new ArrayList<KernelWork>(List.of(
                new LatentAppend(70, 69, 6),
                new MlaAttention(DType.F32, 2, 3, 130, 69, 6),
                new MlaAttention(DType.F32, 2, 3, 130, 512, 64),
                new RmsNorm(3, 131),
                new Swiglu(3, 131),
                new Add(3, 131),
                new Argmax(3, 131),
                new Score(Scoring.SIGMOID, 3, 33),
                new Score(Scoring.SOFTMAX, 3, 33),
                new Route(new GroupLimitedTopK(33, 11, 3, 1, 2, true, 1), 7),
                Route.of(Shape.V3, 5),
                Route.of(Shape.V2_LITE, 5),
                Route.of(Shape.KIMI_K2, 5),
                new Gather(5, 3, 131),
                new Combine(5, 3, 131)));
        for (var format : QuantFormat.values()) {
            works.add(new Gemm(format, 3, 192, 130));
            works.add(new GroupedGemm(format, 4, 3, 192, 130));
            works.add(new GroupedSwiglu(format, 4, 3, 192, 130));
            works.add(new GroupedCombine(format, 4, 3, 192, 130));
            works.add(new MlaExpanded(format, 70, 33, 2, 32, 24, 69, 6));
            works.add(new MlaQuery(format, 3, 2, 32, 24, 69, 6));
            works.add(new MlaOutput(format, 3, 2, 32, 24, 69));
            works.add(new Embed(format, 3, 37, 131));
        }
        return works;
    }

    static Stream<Arguments> backendsAndWorks() {
        return BACKENDS.stream()
                .flatMap(backend -> works().stream()
                        .filter(work -> backend.equals("cpu") || !isInteger(work)) // the only one that has them
                        .map(work -> Arguments.of(backend, work)));
    }

    private static boolean isInteger(KernelWork work) {
        var format = work.format();
        return format != null && format.integer();
    }

    @ParameterizedTest
    @MethodSource("backendsAndWorks")
    void whatIsMeasuredIsTheFunction(String backend, KernelWork work) {
        var expected = results("reference", work);
        var actual = results(backend, work);
        assertThat(actual).hasSameSizeAs(expected);
        for (int i = 0; i < expected.size(); i++) {
            float[] e = expected.get(i), a = actual.get(i);
            double squares = 0;
            for (float value : e) squares += (double) value * value / e.length;
            double rms = Math.sqrt(squares);
            assertThat(rms).as("size of result %d", i).isBetween(1e-6, 1e6);
            assertThat(a).hasSameSizeAs(e);
            for (int j = 0; j < e.length; j++)
                // Sums of fewer than 1024 products in fp32, see KernelsTest; products of codes are the same to the bit.
                assertThat((double) a[j])
                        .as("value %d of result %d", j, i)
                        .isCloseTo(e[j], within(mereProducts(work) ? 0 : 1e-5 * rms));
        }
    }

    private static boolean mereProducts(KernelWork work) {
        return work.integer() && (work instanceof Gemm || work instanceof GroupedGemm);
    }

    /** What a launch writes, as floats; indices are small enough for that. */
    private static List<float[]> results(String backend, KernelWork work) {
        var results = new ArrayList<float[]>();
        try (var kernels = open(backend)) {
            try (var arena = Arena.ofConfined()) {
                var call = work.prepare(kernels, new Inputs(kernels, kernels::allocate, arena, 7, Caches.HOT));
                call.launch();
                for (var result : call.results()) {
                    var host = Tensor.allocate(arena, result.dtype, result.size());
                    kernels.copy(host, result.as(result.size()));
                    float[] floats = new float[(int) host.size()];
                    for (int i = 0; i < floats.length; i++)
                        floats[i] = host.dtype == DType.I32 ? host.getInt(i) : host.getFloat(i);
                    results.add(floats);
                }
            }
            assertThat(kernels.allocated()).isZero();
        }
        return results;
    }

    private static Kernels open(String backend) {
        return switch (Backend.find(backend)) {
            case Backend.Ready(var kernels) -> kernels;
            case Backend.Absent(var reason) -> Assumptions.abort("back end " + backend + ": " + reason);
        };
    }

    /** Cold weights are so many that they fill what no cache holds, and none is called twice before all were. */
    @Test
    void coldWeightsAreManyAndHotOnesOne() {
        try (var kernels = Backend.require("cpu", "threads=1");
                var arena = Arena.ofShared()) {
            for (var caches : Caches.values()) {
                var inputs = new Inputs(kernels, kernels::allocate, arena, 1, caches);
                var weights = inputs.weights(QuantFormat.INT8, 3, 1000, 1024);
                long bytes = weights.size() * 1_024_000L,
                        starts =
                                weights.stream()
                                        .map(w -> w.data().data.address())
                                        .distinct()
                                        .count();
                assertThat(starts).isEqualTo(weights.size());
                if (caches == Caches.HOT) assertThat(weights).hasSize(3);
                else assertThat(bytes).isBetween(Inputs.COLD * 99 / 100, Inputs.COLD);
                // Of another size, out of the same memory: nothing is made.
                long before = kernels.allocated();
                assertThat(inputs.weights(QuantFormat.INT8, 3, 100, 1024)).isNotEmpty();
                assertThat(kernels.allocated()).isEqualTo(before);
            }
        }
    }

    @Test
    void sizesAreThoseOfTheModel() {
        assertThat(Gemm.of(Shape.V3, "o_proj", QuantFormat.BF16, 2))
                .isEqualTo(new Gemm(QuantFormat.BF16, 2, 16384, 7168));
        assertThat(Gemm.of(Shape.V3, "shared_experts.gate_proj", QuantFormat.INT4, 2))
                .isEqualTo(new Gemm(QuantFormat.INT4, 2, 7168, 2048));
        assertThat(Gemm.of(Shape.V2_LITE, "lm_head", QuantFormat.BF16, 1))
                .isEqualTo(new Gemm(QuantFormat.BF16, 1, 2048, 102400));
        assertThatThrownBy(() -> Gemm.of(Shape.V2_LITE, "q_a_proj", QuantFormat.BF16, 1))
                .hasMessage("v2-lite has no q_a_proj");
        assertThat(GroupedGemm.of(Shape.V2_LITE, "down_proj", QuantFormat.BF16, 6, 3))
                .isEqualTo(new GroupedGemm(QuantFormat.BF16, 6, 3, 1408, 2048));
        assertThat(MlaQuery.of(Shape.KIMI_K2, QuantFormat.BF16, 1))
                .isEqualTo(new MlaQuery(QuantFormat.BF16, 1, 64, 128, 128, 512, 64));
        assertThat(MlaAttention.of(Shape.V3, DType.F32, 8, 4096))
                .isEqualTo(new MlaAttention(DType.F32, 8, 128, 4096, 512, 64));
        assertThat(Score.of(Shape.V2_LITE, 1)).isEqualTo(new Score(Scoring.SOFTMAX, 1, 64));
        assertThat(Score.of(Shape.V3, 1)).isEqualTo(new Score(Scoring.SIGMOID, 1, 256));
        assertThat(Route.of(Shape.V3, 1).rule()).isEqualTo(new GroupLimitedTopK(256, 8, 8, 4, 2, true, 2.5f));
        assertThat(Route.of(Shape.KIMI_K2, 1).rule()).isEqualTo(new GroupLimitedTopK(384, 8, 1, 1, 2, true, 2.827f));
        assertThat(Route.of(Shape.V2_LITE, 1).rule()).isEqualTo(new GroupLimitedTopK(64, 6, 1, 1, 1, false, 1));
        assertThat(Gather.of(Shape.V2_LITE, 4)).isEqualTo(new Gather(4, 6, 2048));
        assertThat(Swiglu.of(Shape.V3, 4)).isEqualTo(new Swiglu(4, 2048));
        assertThat(Argmax.of(Shape.V3, 4)).isEqualTo(new Argmax(4, 32768));
    }

    /** Counted by hand for small sizes. */
    @Test
    void bytesAndOperationsAreCountedOnce() {
        counts(new Gemm(QuantFormat.BF16, 2, 10, 3), 2 * 30 + 4 * (2 * 10 + 2 * 3), 120);
        counts(new Gemm(QuantFormat.INT8, 2, 64, 3), 3 * (64 + 2 * 2) + 4 * (2 * 64 + 2 * 3), 2 * 2 * 64 * 3);
        counts(
                new GroupedGemm(QuantFormat.F8_E4M3_B128, 2, 3, 128, 256),
                2 * (256 * 128 + 8) + 24 * 384,
                12 * 128 * 256);
        counts(
                new GroupedSwiglu(QuantFormat.BF16, 2, 3, 10, 20),
                2 * 2 * 2 * 200 + 4 * (3 * 10 + 6 * 20 + 6),
                6 * 20 * (2 * 2 * 10 + 5));
        counts(
                new GroupedCombine(QuantFormat.BF16, 2, 3, 10, 20),
                2 * 2 * 200 + 4 * (2 * 3 * 10 + 6 * 20 + 2 * 6),
                6 * (2 * 200 + 2 * 10));
        // Rows see 8, 9 and 10 positions.
        counts(
                new MlaExpanded(QuantFormat.BF16, 3, 7, 2, 4, 6, 5, 2),
                2 * 20 * 5 + 4 * (10 * 7 + 3 * (2 * 12 + 2 + 1)),
                2 * (2 * 10 * 10 * 5 + 2 * 27 * 12 + 3 * 3 * 2));
        // Two heads: 2 x 4 rows of keys, queries of 4 + 2 in and 5 + 2 out, and a pair's cosine, sine; the position.
        counts(
                new MlaQuery(QuantFormat.BF16, 3, 2, 4, 6, 5, 2),
                2 * 8 * 5 + 4 * 3 * (12 + 14 + 2 + 1),
                3 * 2 * (40 + 6));
        counts(new MlaOutput(QuantFormat.BF16, 3, 2, 4, 6, 5), 2 * 12 * 5 + 4 * 3 * (10 + 12), 3 * 2 * 60);
        counts(new LatentAppend(3, 5, 2), 4 * 3 * (7 + 7 + 2 + 2) + 2 * 5, 3 * (20 + 6));
        counts(new MlaAttention(DType.F32, 2, 3, 10, 5, 2), 4 * (2 * 10 * 7 + 6 * 7 + 6 * 5), 2 * 2 * 3 * 10 * 12);
        counts(new RmsNorm(3, 10), 4 * 60 + 20, 120);
        counts(new Swiglu(3, 10), 4 * 90, 150);
        counts(new Add(3, 10), 4 * 90, 30);
        counts(new Embed(QuantFormat.BF16, 3, 100, 10), 3 * 20 + 4 * 33, 0);
        counts(new Argmax(3, 10), 4 * 33, 0);
        counts(new Score(Scoring.SIGMOID, 3, 10), 4 * 60, 120);
        counts(Route.of(Shape.V3, 5), 4 * (5 * 256 + 256 + 4 * 5 * 8 + 257), 5 * (256 + 3 * 8));
        counts(new Gather(3, 2, 10), 4 * (30 + 60 + 6), 0);
        counts(new Combine(3, 2, 10), 4 * (30 + 30 + 60 + 12), 120);
    }

    private static void counts(KernelWork work, double bytes, double flops) {
        assertThat(work.bytes()).as("bytes of %s", work).isEqualTo(bytes);
        assertThat(work.flops()).as("operations of %s", work).isEqualTo(flops);
    }
}
