package org.panamoe.backend;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.panamoe.backend.Close.assertClose;
import static org.panamoe.backend.Close.assertSame;
import static org.panamoe.backend.Close.fp32;

import java.lang.foreign.Arena;
import java.lang.foreign.ValueLayout;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.function.Supplier;
import java.util.stream.IntStream;
import java.util.stream.Stream;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.Arguments;
import org.junit.jupiter.params.provider.MethodSource;
import org.panamoe.tensor.DType;
import org.panamoe.tensor.QuantFormat;
import org.panamoe.tensor.Tensor;
import org.panamoe.tensor.Weight;

/** Every function of every back end, in every instruction set, against the reference. */
final class KernelsTest {
    /** Everything random follows from it. */
    private static final long SEED = 20250711;

    /** Inputs and what the reference makes of them are made once, and used for every back end. */
    private static final Arena ARENA = Arena.ofShared();

    private static final Map<Object, Object> MADE = new HashMap<>();

    private final Kernels reference = new ReferenceKernels();

    @AfterAll
    static void free() {
        MADE.clear();
        ARENA.close();
    }

    @SuppressWarnings("unchecked")
    private static <V> V once(Object shape, Supplier<V> make) {
        if (!MADE.containsKey(shape)) MADE.put(shape, make.get());
        return (V) MADE.get(shape);
    }

    private static Stream<Arguments> eachWith(List<?> shapes) {
        return Variant.fast().stream()
                .flatMap(variant -> shapes.stream()
                        .filter(shape -> variant.has(formatOf(shape)))
                        .map(shape -> Arguments.of(variant, shape)));
    }

    private static QuantFormat formatOf(Object shape) {
        return switch (shape) {
            case QuantFormat format -> format;
            case Gemm gemm -> gemm.format;
            case Grouped grouped -> grouped.format;
            case Fused fused -> fused.format;
            case Heads heads -> heads.format;
            case Expanded expanded -> expanded.format;
            default -> QuantFormat.F32;
        };
    }

    /** Products with integer formats have the same bits everywhere; others are as close as rounding allows. */
    private static void assertProduct(
            Object what, QuantFormat format, float[] expected, float[] actual, int row, int D) {
        if (format.integer()) assertSame(what, expected, actual);
        else assertClose(what, expected, actual, row, fp32(D), leastRms(D));
    }

    private float[] values(Tensor tensor) {
        var values = new float[(int) tensor.size()];
        tensor.getFloats(0, values);
        return values;
    }

    // ------------------------------------------------------------------------------------------------ products

    record Gemm(int T, int D, int F, QuantFormat format, long seed) {}

    record GivenGemm(Tensor x_TD, Weight w_FD, Tensor expected_TF) {}

    static Stream<Arguments> gemms() {
        var shapes = new ArrayList<Gemm>();
        int[][] sizes = {
            {0, 64, 32},
            {1, 1, 1},
            {1, 3, 7},
            {7, 69, 3},
            {3, 576, 69},
            {69, 7, 576},
            {2, 128, 128},
            {5, 129, 257},
            {33, 300, 130},
            {4, 256, 64},
            {17, 1024, 33},
            {130, 69, 65},
            {8, 1031, 49}
        };
        for (var format : QuantFormat.values()) {
            for (var size : sizes) shapes.add(new Gemm(size[0], size[1], size[2], format, SEED));
            var random = new Random(SEED + format.id);
            for (int i = 0; i < 10; i++)
                shapes.add(new Gemm(
                        random.nextInt(1, 40), random.nextInt(1, 600), random.nextInt(1, 300), format, SEED + 1 + i));
        }
        shapes.add(new Gemm(3, 7168, 2048, QuantFormat.BF16, SEED));
        shapes.add(new Gemm(3, 7168, 2048, QuantFormat.F8_E4M3_B128, SEED));
        shapes.add(new Gemm(9, 7168, 576, QuantFormat.F8_E4M3_B128, SEED));
        return eachWith(shapes);
    }

    @ParameterizedTest
    @MethodSource("gemms")
    void gemm(Variant variant, Gemm shape) {
        var given = once(shape, () -> {
            var make = new Given(ARENA, shape.seed);
            var x_TD = make.floats(1, shape.T, shape.D);
            var w_FD = make.weight(shape.format, shape.F, shape.D);
            var y_TF = Tensor.allocate(ARENA, DType.F32, shape.T, shape.F);
            reference.gemm(y_TF, x_TD, w_FD);
            return new GivenGemm(x_TD, w_FD, y_TF);
        });
        try (var on = new On(variant.open())) {
            var y_TF = on.out(shape.T, shape.F);
            on.kernels.gemm(y_TF, on.in(given.x_TD), on.in(given.w_FD));
            assertProduct(shape, shape.format, values(given.expected_TF), on.floats(y_TF), shape.F, shape.D);
        }
    }

    /** Activations and weights of {@link Given} have an rms of about a half: what a long row of products has. */
    private static double leastRms(int D) {
        return Math.sqrt(D) / 4;
    }

    /** NaN and infinities in x reach their row alone, those in w (an FP8 code, a scale) their output alone. */
    @ParameterizedTest
    @MethodSource("variantsAndFormats")
    void gemmKeepsNaNAndInfinityInTheirPlace(Variant variant, QuantFormat format) {
        int T = 6, D = 139, F = 150;
        try (var on = new On(variant.open())) {
            var make = new Given(on.arena, SEED);
            var x_TD = make.floats(1, T, D);
            x_TD.setFloat(1L * D + 138, Float.NaN);
            x_TD.setFloat(3L * D, Float.POSITIVE_INFINITY);
            x_TD.setFloat(4L * D + 77, Float.NEGATIVE_INFINITY);
            var w_FD = make.weight(format, F, D);
            int at = 9 * D + 135;
            switch (format) {
                case F32 -> w_FD.data().setFloat(at, Float.NaN);
                case BF16 -> w_FD.data().data.setAtIndex(ValueLayout.JAVA_SHORT_UNALIGNED, at, Given.bf16(Float.NaN));
                case F8_E4M3_B128 -> {
                    w_FD.data().data.set(ValueLayout.JAVA_BYTE, at, (byte) 0xff);
                    var scale = w_FD.scale();
                    if (scale != null) scale.setFloat(3, Float.NaN); // rows and columns from 128 on
                }
                case INT8, INT4 -> {
                    var scale = w_FD.scale();
                    if (scale != null) scale.setFloat(9L * scale.dim(1) + 4, Float.NaN); // columns from 128 on
                    if (scale != null) scale.setFloat(11L * scale.dim(1), Float.NEGATIVE_INFINITY);
                }
            }
            var expected_TF = Tensor.allocate(on.arena, DType.F32, T, F);
            reference.gemm(expected_TF, x_TD, w_FD);
            var y_TF = on.out(T, F);
            on.kernels.gemm(y_TF, on.in(x_TD), on.in(w_FD));
            assertThat(expected_TF.getFloat(9)).isNaN();
            assertThat(expected_TF.getFloat(0)).isFinite();
            assertProduct(format, format, values(expected_TF), on.floats(y_TF), F, D);
        }
    }

    static Stream<Arguments> variantsAndFormats() {
        return eachWith(List.of(QuantFormat.values()));
    }

    /** One code for each output, the others 0: then the sum is the code's value itself, however it is summed. */
    @ParameterizedTest
    @MethodSource("variantsAndWidths")
    void everyFp8CodeIsDecodedExactly(Variant variant, int D) {
        int T = 5, F = 256;
        try (var on = new On(variant.open())) {
            var codes = new Tensor(on.arena.allocate(F * D + 1).asSlice(1), DType.F8_E4M3, F, D);
            for (int f = 0; f < F; f++) codes.data.set(ValueLayout.JAVA_BYTE, (long) f * D + f % D, (byte) f);
            var scale = Tensor.allocate(on.arena, DType.F32, 2, Math.ceilDiv(D, 128));
            for (int i = 0; i < scale.size(); i++) scale.setFloat(i, (i + 1) * 0.0123456f);
            var w_FD = new Weight(QuantFormat.F8_E4M3_B128, codes, scale);
            var x_TD = Tensor.allocate(on.arena, DType.F32, T, D);
            for (int i = 0; i < T * D; i++) x_TD.setFloat(i, 1);
            var y_TF = on.out(T, F);
            on.kernels.gemm(y_TF, on.in(x_TD), on.in(w_FD));
            float[] actual = on.floats(y_TF);
            float[] values = GoldenUnits.floats("fp8.values");
            for (int i = 0; i < T * F; i++) {
                int code = i % F;
                float w = values[code] * scale.getFloat((long) (code / 128) * scale.dim(1) + code % D / 128);
                // The sign of a zero does not outlive the sum.
                assertThat(actual[i]).as("row %d, code %#x", i / F, code).isEqualTo(Float.valueOf(w + 0.0f));
            }
        }
    }

    static Stream<Arguments> variantsAndWidths() {
        return eachWith(List.of(1, 3, 16, 61, 128, 300));
    }

    /** @param offset_E1 first and last row of each expert */
    record Grouped(int D, int F, List<Integer> offset_E1, QuantFormat format) {
        int N() {
            return offset_E1.getLast();
        }

        int E() {
            return offset_E1.size() - 1;
        }
    }

    record GivenGrouped(Tensor x_ND, List<Weight> w_E, Tensor offset_E1, Tensor expected_NF) {}

    static Stream<Arguments> groupedGemms() {
        var shapes = new ArrayList<Grouped>();
        for (var format : QuantFormat.values()) {
            shapes.add(new Grouped(64, 32, List.of(0, 0, 0, 0), format));
            shapes.add(new Grouped(1, 1, List.of(0, 1), format));
            shapes.add(new Grouped(69, 7, List.of(0, 0, 3, 3, 10), format));
            shapes.add(new Grouped(7, 576, List.of(0, 0, 0, 69, 69), format));
            shapes.add(new Grouped(129, 131, List.of(0, 1, 2, 7, 7, 30), format));
            var random = new Random(SEED + format.id);
            for (int i = 0; i < 6; i++) {
                int E = random.nextInt(1, 20), N = random.nextInt(0, 80);
                var offsets = IntStream.concat(IntStream.of(0, N), random.ints(E - 1, 0, N + 1))
                        .sorted()
                        .boxed()
                        .toList();
                shapes.add(new Grouped(random.nextInt(1, 400), random.nextInt(1, 300), offsets, format));
            }
        }
        shapes.add(new Grouped(7168, 512, List.of(0, 2, 2, 3), QuantFormat.F8_E4M3_B128));
        return eachWith(shapes);
    }

    @ParameterizedTest
    @MethodSource("groupedGemms")
    void groupedGemm(Variant variant, Grouped shape) {
        int N = shape.N(), D = shape.D, F = shape.F;
        var given = once(shape, () -> {
            var make = new Given(ARENA, SEED);
            var x_ND = make.floats(1, N, D);
            var w_E = make.weights(shape.format, shape.E(), F, D);
            var offset_E1 = make.ints(shape.E() + 1, shape.offset_E1::get);
            var y_NF = Tensor.allocate(ARENA, DType.F32, N, F);
            reference.groupedGemm(y_NF, x_ND, new ExpertTable(reference, ARENA, w_E), offset_E1);
            return new GivenGrouped(x_ND, w_E, offset_E1, y_NF);
        });
        try (var on = new On(variant.open())) {
            var y_NF = on.out(N, F);
            on.kernels.groupedGemm(y_NF, on.in(given.x_ND), on.in(given.w_E), on.in(given.offset_E1));
            assertProduct(shape, shape.format, values(given.expected_NF), on.floats(y_NF), F, D);
        }
    }

    /** @param T tokens of which each row is one; 0: row n is token n */
    record Fused(int T, int D, int F, List<Integer> offset_E1, QuantFormat format) {
        int N() {
            return offset_E1.getLast();
        }

        int E() {
            return offset_E1.size() - 1;
        }

        boolean routed() {
            return T > 0;
        }

        int tokens() {
            return routed() ? T : N();
        }
    }

    static Stream<Arguments> fused() {
        var shapes = new ArrayList<Fused>();
        for (var format : QuantFormat.values()) {
            shapes.add(new Fused(3, 64, 32, List.of(0, 0, 0), format));
            shapes.add(new Fused(0, 7, 5, List.of(0, 0), format));
            shapes.add(new Fused(1, 1, 1, List.of(0, 1), format));
            shapes.add(new Fused(1, 576, 69, List.of(0, 1, 1, 2, 3), format)); // decode: a token and three experts
            shapes.add(new Fused(5, 129, 131, List.of(0, 1, 2, 7, 7, 20), format));
            shapes.add(new Fused(80, 69, 65, List.of(0, 0, 70, 71, 160), format));
            shapes.add(new Fused(0, 300, 257, List.of(0, 7), format));
            shapes.add(new Fused(0, 130, 70, List.of(0, 67), format));
        }
        shapes.add(new Fused(1, 7168, 512, List.of(0, 1, 2, 3, 4), QuantFormat.F8_E4M3_B128));
        return eachWith(shapes);
    }

    /** Bit for bit what gather, groupedGemm, groupedGemm and swiglu of the same back end give; a NaN stays in its row. */
    @ParameterizedTest
    @MethodSource("fused")
    void groupedSwiglu(Variant variant, Fused shape) {
        int N = shape.N(), D = shape.D, F = shape.F;
        try (var on = new On(variant.open())) {
            var make = new Given(on.arena, SEED);
            var host_TD = make.floats(1, shape.tokens(), D);
            if (shape.tokens() > 2) host_TD.setFloat(D + D / 2, Float.NaN);
            if (shape.tokens() > 3) host_TD.setFloat(2L * D, Float.NEGATIVE_INFINITY);
            Tensor x_TD = on.in(host_TD), token_N = on.in(make.ints(N, n -> make.random.nextInt(shape.tokens())));
            var gate_E = on.in(make.weights(shape.format, shape.E(), F, D));
            var up_E = on.in(make.weights(shape.format, shape.E(), F, D));
            var offset_E1 = on.in(make.ints(shape.E() + 1, shape.offset_E1::get));
            Tensor x_ND = on.out(N, D), expected_NF = on.out(N, F), up_NF = on.out(N, F), y_NF = on.out(N, F);
            if (shape.routed()) on.kernels.gather(x_ND, x_TD, token_N);
            else on.kernels.copy(x_ND, x_TD);
            on.kernels.groupedGemm(expected_NF, x_ND, gate_E, offset_E1);
            on.kernels.groupedGemm(up_NF, x_ND, up_E, offset_E1);
            on.kernels.swiglu(expected_NF, expected_NF, up_NF);
            on.kernels.groupedSwiglu(y_NF, x_TD, gate_E, up_E, offset_E1, shape.routed() ? token_N : null);
            assertSame(shape, on.floats(expected_NF), on.floats(y_NF));
        }
    }

    /** Bit for bit what groupedGemm and combine, or without tokens add, of the same back end give. */
    @ParameterizedTest
    @MethodSource("fused")
    void groupedCombine(Variant variant, Fused shape) {
        int T = shape.tokens(), N = shape.N(), D = shape.D, F = shape.F;
        try (var on = new On(variant.open())) {
            var make = new Given(on.arena, SEED);
            Tensor host_NF = make.floats(1, N, F), host_TD = make.floats(1, T, D);
            if (N > 2) host_NF.setFloat(F + F / 2, Float.NaN);
            if (N > 3) host_NF.setFloat(2L * F, Float.POSITIVE_INFINITY);
            Tensor x_NF = on.in(host_NF), weight_N = on.in(make.floats(2.5f, N));
            var token_N = on.in(make.ints(N, n -> make.random.nextInt(T)));
            var w_E = on.in(make.weights(shape.format, shape.E(), /* F= */ D, /* D= */ F));
            var offset_E1 = on.in(make.ints(shape.E() + 1, shape.offset_E1::get));
            Tensor x_ND = on.out(N, D), expected_TD = on.in(host_TD), y_TD = on.in(host_TD);
            on.kernels.groupedGemm(x_ND, x_NF, w_E, offset_E1);
            if (shape.routed()) {
                on.kernels.combine(expected_TD, x_ND, token_N, weight_N);
                on.kernels.groupedCombine(y_TD, x_NF, w_E, offset_E1, token_N, weight_N);
            } else {
                on.kernels.add(expected_TD, x_ND);
                on.kernels.groupedCombine(y_TD, x_NF, w_E, offset_E1, null, null);
            }
            assertSame(shape, on.floats(expected_TD), on.floats(y_TD));
        }
    }

    // ----------------------------------------------------------------------------------------------- attention

    record Heads(int T, int H, int P, int U, int C, int R, QuantFormat format) {}

    record GivenQuery(Tensor q_THPR, Weight kvB, Tensor position_T, Rope rope, Tensor expected_THX) {}

    static Stream<Arguments> heads() {
        var shapes = new ArrayList<Heads>();
        for (var format : QuantFormat.values()) {
            shapes.add(new Heads(0, 2, 8, 8, 16, 4, format));
            shapes.add(new Heads(1, 1, 1, 1, 1, 2, format));
            shapes.add(new Heads(3, 2, 7, 3, 69, 6, format));
            shapes.add(new Heads(7, 8, 32, 32, 64, 16, format)); // scales' blocks of 128 rows hold two heads
            shapes.add(new Heads(2, 3, 100, 69, 130, 64, format)); // and here heads lie across them
            shapes.add(new Heads(40, 2, 16, 24, 200, 8, format));
        }
        shapes.add(new Heads(3, 4, 128, 128, 512, 64, QuantFormat.F8_E4M3_B128));
        shapes.add(new Heads(3, 4, 128, 128, 512, 64, QuantFormat.BF16));
        return eachWith(shapes);
    }

    @ParameterizedTest
    @MethodSource("heads")
    void mlaQuery(Variant variant, Heads shape) {
        int T = shape.T, H = shape.H, P = shape.P, C = shape.C, R = shape.R, X = C + R;
        var given = once(List.of("query", shape), () -> {
            var make = new Given(ARENA, SEED);
            var q_THPR = make.floats(1, T, H, P + R);
            var kvB = make.weight(shape.format, (long) H * (P + shape.U), C);
            var rope = make.rope(50, R);
            var position_T = make.ints(T, t -> (t * 31 + 49) % 50);
            var q_THX = Tensor.allocate(ARENA, DType.F32, T, H, X);
            reference.mlaQuery(q_THX, q_THPR, kvB, position_T, rope);
            return new GivenQuery(q_THPR, kvB, position_T, rope, q_THX);
        });
        try (var on = new On(variant.open())) {
            var q_THX = on.out(T, H, X);
            on.kernels.mlaQuery(
                    q_THX, on.in(given.q_THPR), on.in(given.kvB), on.in(given.position_T), on.in(given.rope));
            assertClose(shape, values(given.expected_THX), on.floats(q_THX), X, fp32(P), leastRms(P));
        }
    }

    record GivenOutput(Tensor o_THC, Weight kvB, Tensor expected_THU) {}

    @ParameterizedTest
    @MethodSource("heads")
    void mlaOutput(Variant variant, Heads shape) {
        int T = shape.T, H = shape.H, U = shape.U, C = shape.C;
        var given = once(List.of("output", shape), () -> {
            var make = new Given(ARENA, SEED);
            var o_THC = make.floats(1, T, H, C);
            var kvB = make.weight(shape.format, (long) H * (shape.P + U), C);
            var o_THU = Tensor.allocate(ARENA, DType.F32, T, H, U);
            reference.mlaOutput(o_THU, o_THC, kvB);
            return new GivenOutput(o_THC, kvB, o_THU);
        });
        try (var on = new On(variant.open())) {
            var o_THU = on.out(T, H, U);
            on.kernels.mlaOutput(o_THU, on.in(given.o_THC), on.in(given.kvB));
            assertClose(shape, values(given.expected_THU), on.floats(o_THU), U, fp32(C), leastRms(C));
        }
    }

    /** @param lengths how many positions each request has; its last ones are rows of the call, T in all */
    record Attention(List<Integer> lengths, int rowsOfEach, int H, int C, int R, int B) {
        int T() {
            return lengths.stream()
                    .mapToInt(length -> Math.min(length, rowsOfEach))
                    .sum();
        }
    }

    record GivenAttention(LatentPages pages, Rows rows) {}

    static Stream<Arguments> attentions() {
        return eachWith(List.of(
                new Attention(List.of(1), 1, 1, 1, 1, 1),
                new Attention(List.of(3, 7), 2, 3, 7, 3, 2),
                new Attention(List.of(69, 1, 20), 5, 2, 69, 6, 3),
                new Attention(List.of(64, 65, 63), 3, 8, 64, 16, 64),
                new Attention(List.of(700, 5), 2, 4, 48, 8, 16),
                new Attention(List.of(130), 130, 2, 32, 4, 64),
                new Attention(List.of(300, 129), 2, 6, 512, 64, 64)));
    }

    /** Whether this back end has a latent cache in BF16; if not, the call must say so. */
    private static boolean hasBf16Cache(Variant variant, String function, Runnable call) {
        if (!variant.name().equals("cpu")) return true;
        assertThatThrownBy(call::run)
                .isInstanceOf(KernelException.class)
                .hasMessage(function + ": cache is 1, the CPU back end has 0 (F32)");
        return false;
    }

    @ParameterizedTest
    @MethodSource("attentions")
    void mlaAttentionOverBf16Pages(Variant variant, Attention shape) {
        int T = shape.T(), H = shape.H, C = shape.C, X = C + shape.R;
        try (var on = new On(variant.open())) {
            var make = new Given(on.arena, SEED);
            var given = attention(make, shape, 1);
            var pages = new LatentPages(Given.inBf16(on.arena, given.pages.pages_SBX()));
            var q_THX = make.floats(1, T, H, X);
            float scale = 6 / (float) Math.sqrt(X);
            var o_THC = on.out(T, H, C);
            Tensor q = on.in(q_THX);
            LatentPages cached = on.in(pages);
            Rows rows = on.in(given.rows);
            Runnable call = () -> on.kernels.mlaAttention(o_THC, q, cached, rows, scale);
            if (!hasBf16Cache(variant, "mla_attention", call)) return;
            call.run();
            var expected_THC = Tensor.allocate(on.arena, DType.F32, T, H, C);
            reference.mlaAttention(expected_THC, q_THX, pages, given.rows, scale);
            assertClose(shape, values(expected_THC), on.floats(o_THC), C, fp32(X), C < 16 ? 0.5 : 0);
        }
    }

    @ParameterizedTest
    @MethodSource("attentions")
    void latentAppendRoundsToBf16Pages(Variant variant, Attention shape) {
        int T = shape.T(), C = shape.C, R = shape.R + shape.R % 2;
        var even = new Attention(shape.lengths, shape.rowsOfEach, shape.H, C, R, shape.B);
        try (var on = new On(variant.open())) {
            var make = new Given(on.arena, SEED);
            var given = attention(make, even, 1);
            var pages = new LatentPages(Given.inBf16(on.arena, given.pages.pages_SBX()));
            Tensor kv_TX = make.floats(3, T, C + R), kv = on.in(kv_TX);
            Weight norm_C = make.weight(QuantFormat.BF16, C), norm = on.in(norm_C);
            Rope tables = make.rope(700, R), rope = on.in(tables);
            LatentPages there = on.in(pages);
            Rows rows = on.in(given.rows);
            Runnable call = () -> on.kernels.latentAppend(there, kv, norm, 1e-6f, rows, rope);
            if (!hasBf16Cache(variant, "latent_append", call)) return;
            call.run();
            reference.latentAppend(pages, kv_TX, norm_C, 1e-6f, given.rows, tables);
            short[] expected = On.bf16Values(pages.pages_SBX()), actual = on.bf16(there.pages_SBX());
            int different = 0;
            for (int i = 0; i < expected.length; i++) {
                // Where fp32 rounds to the other side of a tie the neighbour comes out, of one value in 2^16 or so.
                assertThat(Math.abs(expected[i] - actual[i]))
                        .as("value %d of %s", i, shape)
                        .isLessThanOrEqualTo(1);
                if (expected[i] != actual[i]) different++;
            }
            assertThat(different).isLessThanOrEqualTo(1 + T * (C + R) / 1000);
        }
    }

    /** Requests whose pages lie in a random order; whatever no row may look at is NaN. */
    private static GivenAttention attention(Given make, Attention shape, float scale) {
        int A = shape.lengths.size(), B = shape.B, X = shape.C + shape.R;
        int M = shape.lengths.stream()
                        .mapToInt(length -> Math.ceilDiv(length, B))
                        .max()
                        .orElseThrow()
                + 1;
        int[] pages = IntStream.range(0, A * M + 2).toArray();
        for (int i = pages.length - 1; i > 0; i--) {
            int other = make.random.nextInt(i + 1), page = pages[i];
            pages[i] = pages[other];
            pages[other] = page;
        }
        var pages_SBX = Tensor.allocate(make.arena, DType.F32, pages.length, B, X);
        for (long i = 0; i < pages_SBX.size(); i++) pages_SBX.setFloat(i, Float.NaN);
        var table_AM = make.ints(A * M, i -> pages[i]).as(A, M);
        var request = new ArrayList<Integer>();
        var position = new ArrayList<Integer>();
        for (int a = 0; a < A; a++) {
            int length = shape.lengths.get(a);
            for (int s = 0; s < length; s++) {
                for (int x = 0; x < X; x++)
                    pages_SBX.setFloat(
                            ((long) pages[a * M + s / B] * B + s % B) * X + x,
                            scale * (2 * make.random.nextFloat() - 1));
            }
            for (int s = Math.max(0, length - shape.rowsOfEach); s < length; s++) {
                request.add(a);
                position.add(s);
            }
        }
        var rows =
                new Rows(table_AM, make.ints(request.size(), request::get), make.ints(position.size(), position::get));
        return new GivenAttention(new LatentPages(pages_SBX), rows);
    }

    @ParameterizedTest
    @MethodSource("attentions")
    void mlaAttention(Variant variant, Attention shape) {
        int T = shape.T(), H = shape.H, C = shape.C, X = C + shape.R;
        try (var on = new On(variant.open())) {
            var make = new Given(on.arena, SEED);
            var given = attention(make, shape, 1);
            var q_THX = make.floats(1, T, H, X);
            // Scores are sums of X products of about 1/3 each, of either sign: scaled to about 2, so that a few keys
            // lead.
            float scale = 6 / (float) Math.sqrt(X);
            var expected_THC = Tensor.allocate(on.arena, DType.F32, T, H, C);
            reference.mlaAttention(expected_THC, q_THX, given.pages, given.rows, scale);
            var o_THC = on.out(T, H, C);
            on.kernels.mlaAttention(o_THC, on.in(q_THX), on.in(given.pages), on.in(given.rows), scale);
            // A short row may cancel to nothing: values are up to 1, and their mean over n keys is about 1 / sqrt(n).
            assertClose(shape, values(expected_THC), on.floats(o_THC), C, fp32(X), C < 16 ? 0.5 : 0);
        }
    }

    /** One key beats all others by far, at any place: exp must neither overflow nor lose it. */
    @ParameterizedTest
    @MethodSource("variants")
    void mlaAttentionWithHugeScores(Variant variant) {
        var shape = new Attention(List.of(200, 200, 200), 1, 2, 32, 4, 16);
        int T = shape.T(), H = shape.H, C = shape.C, X = C + shape.R;
        try (var on = new On(variant.open())) {
            var make = new Given(on.arena, SEED);
            var given = attention(make, shape, 1);
            var q_THX = make.floats(1, T, H, X);
            float scale = 1e4f;
            var expected_THC = Tensor.allocate(on.arena, DType.F32, T, H, C);
            reference.mlaAttention(expected_THC, q_THX, given.pages, given.rows, scale);
            var o_THC = on.out(T, H, C);
            on.kernels.mlaAttention(o_THC, on.in(q_THX), on.in(given.pages), on.in(given.rows), scale);
            // Scores reach 1e5 and are rounded to 2^-7 in fp32, so a runner-up's share would be known to 1 % only; the
            // leads in this draw are beyond 20, which makes the best key's value the result, to the bit.
            assertClose(shape, values(expected_THC), on.floats(o_THC), C, 1e-7, 0);
        }
    }

    /** A NaN in a query stays in its head; one in the cache in the rows that look at it. */
    @ParameterizedTest
    @MethodSource("variants")
    void mlaAttentionKeepsNaNAndInfinityInTheirPlace(Variant variant) {
        var shape = new Attention(List.of(40, 70), 6, 3, 24, 8, 16);
        int T = shape.T(), H = shape.H, C = shape.C, X = C + shape.R;
        try (var on = new On(variant.open())) {
            var make = new Given(on.arena, SEED);
            var given = attention(make, shape, 1);
            var q_THX = make.floats(1, T, H, X);
            q_THX.setFloat((1L * H + 2) * X + 5, Float.NaN);
            q_THX.setFloat((3L * H + 0) * X + X - 1, Float.POSITIVE_INFINITY);
            // Position 67 of the second request: seen by its last three rows (67, 68, 69), not by 64, 65, 66.
            int page = given.rows.table_AM().getInt((long) given.rows.table_AM().dim(1) + 67 / 16);
            given.pages.pages_SBX().setFloat(((long) page * 16 + 67 % 16) * X + 3, Float.NaN);
            var expected_THC = Tensor.allocate(on.arena, DType.F32, T, H, C);
            reference.mlaAttention(expected_THC, q_THX, given.pages, given.rows, 0.2f);
            assertThat(expected_THC.getFloat((T - 4L) * H * C)).isFinite();
            assertThat(expected_THC.getFloat((T - 3L) * H * C)).isNaN();
            var o_THC = on.out(T, H, C);
            on.kernels.mlaAttention(o_THC, on.in(q_THX), on.in(given.pages), on.in(given.rows), 0.2f);
            assertClose(shape, values(expected_THC), on.floats(o_THC), C, fp32(X), 0);
        }
    }

    @ParameterizedTest
    @MethodSource("attentions")
    void latentAppend(Variant variant, Attention shape) {
        int T = shape.T(), C = shape.C, R = shape.R + shape.R % 2;
        var even = new Attention(shape.lengths, shape.rowsOfEach, shape.H, C, R, shape.B);
        for (var format : List.of(QuantFormat.F32, QuantFormat.BF16)) {
            try (var on = new On(variant.open())) {
                var make = new Given(on.arena, SEED);
                var given = attention(make, even, 1);
                var kv_TX = make.floats(3, T, C + R);
                var norm_C = make.weight(format, C);
                var rope = make.rope(700, R);
                var pages = on.in(given.pages);
                reference.latentAppend(given.pages, kv_TX, norm_C, 1e-6f, given.rows, rope);
                on.kernels.latentAppend(pages, on.in(kv_TX), on.in(norm_C), 1e-6f, on.in(given.rows), on.in(rope));
                // Also that everything else is untouched, NaN included.
                assertClose(shape, values(given.pages.pages_SBX()), on.floats(pages.pages_SBX()), C + R, fp32(C), 0.5);
            }
        }
    }

    /** Heads of an expanded call: P, U, and how its kv_b_proj is stored; C, R and the rest are the attention's. */
    record Expanded(Attention attention, int P, int U, QuantFormat format) {}

    record GivenExpanded(
            GivenAttention given, Tensor q_THPR, Weight kvB, Rope rope, float scale, Tensor expected_THU) {}

    static Stream<Arguments> expandeds() {
        var shapes = new ArrayList<Expanded>();
        for (var format : QuantFormat.values()) {
            shapes.add(new Expanded(new Attention(List.of(1), 1, 1, 1, 2, 1), 1, 1, format));
            shapes.add(new Expanded(new Attention(List.of(69, 1, 20), 5, 3, 69, 6, 3), 7, 5, format));
            shapes.add(new Expanded(new Attention(List.of(300, 5), 50, 3, 40, 8, 16), 33, 20, format));
        }
        shapes.add(new Expanded(new Attention(List.of(130), 130, 16, 48, 16, 64), 24, 69, QuantFormat.F8_E4M3_B128));
        shapes.add(new Expanded(new Attention(List.of(700, 257), 3, 2, 200, 64, 64), 100, 65, QuantFormat.BF16));
        shapes.add(new Expanded(new Attention(List.of(600), 530, 1, 16, 4, 64), 12, 8, QuantFormat.F32));
        shapes.add(new Expanded(new Attention(List.of(70), 9, 2, 512, 64, 64), 128, 128, QuantFormat.F8_E4M3_B128));
        shapes.add(new Expanded(new Attention(List.of(5), 0, 2, 8, 4, 16), 4, 4, QuantFormat.F32));
        return eachWith(shapes);
    }

    private GivenExpanded expanded(Expanded shape) {
        var make = new Given(ARENA, SEED);
        int T = shape.attention.T(), H = shape.attention.H, R = shape.attention.R, P = shape.P, U = shape.U;
        var given = attention(make, shape.attention, 1);
        var q_THPR = make.floats(1, T, H, P + R);
        var kvB = make.weight(shape.format, (long) H * (P + U), shape.attention.C);
        var rope = make.rope(700, R);
        // Keys without rope are sums of C products of about 1/3: scores of about 2, so that a few keys lead.
        float scale = 6 / (float) Math.sqrt((P + R) * (1 + shape.attention.C / 3.0));
        var o_THU = Tensor.allocate(ARENA, DType.F32, T, H, U);
        reference.mlaExpanded(o_THU, q_THPR, given.pages, kvB, given.rows, rope, scale);
        return new GivenExpanded(given, q_THPR, kvB, rope, scale, o_THU);
    }

    @ParameterizedTest
    @MethodSource("expandeds")
    void mlaExpanded(Variant variant, Expanded shape) {
        int T = shape.attention.T(), H = shape.attention.H, C = shape.attention.C, U = shape.U;
        var given = once(shape, () -> expanded(shape));
        try (var on = new On(variant.open())) {
            var o_THU = on.out(T, H, U);
            on.kernels.mlaExpanded(
                    o_THU,
                    on.in(given.q_THPR),
                    on.in(given.given.pages),
                    on.in(given.kvB),
                    on.in(given.given.rows),
                    on.in(given.rope),
                    given.scale);
            // Values are sums of C products, and a score is known to C + P roundings: as in mlaAttention.
            assertClose(shape, values(given.expected_THU), on.floats(o_THU), U, 2 * fp32(C + shape.P), leastRms(C));
        }
    }

    /** Absorbed on tensor cores, as on CUDA; the cache in BF16 is refused where there is none. */
    @ParameterizedTest
    @MethodSource("variants")
    void mlaExpandedOverBf16Pages(Variant variant) {
        var shape = new Expanded(new Attention(List.of(70, 20), 9, 3, 64, 16, 16), 32, 24, QuantFormat.BF16);
        int T = shape.attention.T(), H = shape.attention.H, R = shape.attention.R, P = shape.P, U = shape.U;
        try (var on = new On(variant.open())) {
            var make = new Given(on.arena, SEED);
            var given = attention(make, shape.attention, 1);
            var pages = new LatentPages(Given.inBf16(on.arena, given.pages.pages_SBX()));
            var q_THPR = make.floats(1, T, H, P + R);
            var kvB = make.weight(shape.format, (long) H * (P + U), shape.attention.C);
            var tables = make.rope(100, R);
            var o_THU = on.out(T, H, U);
            Tensor q = on.in(q_THPR);
            LatentPages cached = on.in(pages);
            Weight there = on.in(kvB);
            Rows rows = on.in(given.rows);
            Rope rope = on.in(tables);
            Runnable call = () -> on.kernels.mlaExpanded(o_THU, q, cached, there, rows, rope, 0.1f);
            if (!hasBf16Cache(variant, "mla_expanded", call)) return;
            call.run();
            var expected_THU = Tensor.allocate(on.arena, DType.F32, T, H, U);
            reference.mlaExpanded(expected_THU, q_THPR, pages, kvB, given.rows, tables, 0.1f);
            assertClose(shape, values(expected_THU), on.floats(o_THU), U, 1e-5, 0);
        }
    }

    /** A NaN in a query stays in its head; one in the cache in the rows that look at it, in the same block or not. */
    @ParameterizedTest
    @MethodSource("variants")
    void mlaExpandedKeepsNaNInItsPlace(Variant variant) {
        var shape = new Attention(List.of(40, 290), 60, 3, 24, 8, 16);
        int T = shape.T(), H = shape.H, C = shape.C, R = shape.R, P = 10, U = 7;
        try (var on = new On(variant.open())) {
            var make = new Given(on.arena, SEED);
            var given = attention(make, shape, 1);
            var q_THPR = make.floats(1, T, H, P + R);
            q_THPR.setFloat((1L * H + 2) * (P + R) + 5, Float.NaN);
            var kvB = make.weight(QuantFormat.BF16, (long) H * (P + U), C);
            var rope = make.rope(300, R);
            // Position 287 of the second request: seen by its last three rows.
            int page = given.rows.table_AM().getInt((long) given.rows.table_AM().dim(1) + 287 / 16);
            given.pages.pages_SBX().setFloat(((long) page * 16 + 287 % 16) * (C + R) + 3, Float.NaN);
            var expected_THU = Tensor.allocate(on.arena, DType.F32, T, H, U);
            reference.mlaExpanded(expected_THU, q_THPR, given.pages, kvB, given.rows, rope, 0.2f);
            assertThat(expected_THU.getFloat((T - 4L) * H * U)).isFinite();
            assertThat(expected_THU.getFloat((T - 3L) * H * U)).isNaN();
            var o_THU = on.out(T, H, U);
            on.kernels.mlaExpanded(
                    o_THU, on.in(q_THPR), on.in(given.pages), on.in(kvB), on.in(given.rows), on.in(rope), 0.2f);
            assertClose(shape, values(expected_THU), on.floats(o_THU), U, 2 * fp32(C + P), 0);
        }
    }

    /** The absorbed form, in which the cache is one key for all heads, is the paper's form with expanded keys. */
    @ParameterizedTest
    @MethodSource("everyVariant")
    void absorbedAttentionIsExpandedAttention(Variant variant) {
        var shape = new Attention(List.of(70, 33), 9, 4, 64, 16, 16);
        int T = shape.T(), H = shape.H, C = shape.C, R = shape.R, P = 32, U = 24;
        for (var format : QuantFormat.values()) {
            if (!variant.has(format)) continue;
            try (var on = new On(variant.open())) {
                var make = new Given(on.arena, SEED);
                var given = attention(make, shape, 1);
                var q_THPR = make.floats(1, T, H, P + R);
                var kvB = make.weight(format, (long) H * (P + U), C);
                var rope = make.rope(100, R);
                float scale = 1 / (float) Math.sqrt(P + R);
                var expected_THU = Tensor.allocate(on.arena, DType.F32, T, H, U);
                reference.mlaExpanded(expected_THU, q_THPR, given.pages, kvB, given.rows, rope, scale);

                var rows = on.in(given.rows);
                var there = on.in(kvB);
                Tensor q_THX = on.out(T, H, C + R), o_THC = on.out(T, H, C), o_THU = on.out(T, H, U);
                on.kernels.mlaQuery(q_THX, on.in(q_THPR), there, rows.position_T(), on.in(rope));
                on.kernels.mlaAttention(o_THC, q_THX, on.in(given.pages), rows, scale);
                on.kernels.mlaOutput(o_THU, o_THC, there);
                assertClose(format, values(expected_THU), on.floats(o_THU), U, 1e-5, 0);
            }
        }
    }

    // ---------------------------------------------------------------------------------------------- elementwise

    record Matrix(int T, int D) {}

    private static final List<Matrix> MATRICES = List.of(
            new Matrix(0, 8),
            new Matrix(1, 1),
            new Matrix(3, 7),
            new Matrix(7, 69),
            new Matrix(69, 3),
            new Matrix(2, 576),
            new Matrix(5, 1031),
            new Matrix(3, 7168));

    static Stream<Arguments> matrices() {
        return eachWith(MATRICES);
    }

    @ParameterizedTest
    @MethodSource("matrices")
    void rmsNorm(Variant variant, Matrix shape) {
        int T = shape.T, D = shape.D;
        for (var format : List.of(QuantFormat.F32, QuantFormat.BF16)) {
            try (var on = new On(variant.open())) {
                var make = new Given(on.arena, SEED);
                var x_TD = make.floats(1, T, D);
                // Rows of very different sizes, one of them of the size of eps; one of zeros; NaN and infinity in rows.
                for (int i = 0; i < T * D; i++)
                    x_TD.setFloat(i, x_TD.getFloat(i) * (float) Math.pow(10, i / D % 8 - 4));
                if (T > 2) for (int d = 0; d < D; d++) x_TD.setFloat(2 * D + d, 0);
                if (T > 6) x_TD.setFloat(5 * D + D / 2, Float.NaN);
                if (T > 6) x_TD.setFloat(6 * D + D - 1, Float.NEGATIVE_INFINITY);
                var w_D = make.weight(format, D);
                var expected_TD = Tensor.allocate(on.arena, DType.F32, T, D);
                reference.rmsNorm(expected_TD, x_TD, w_D, 1e-6f);
                Tensor y_TD = on.out(T, D), inPlace_TD = on.in(x_TD);
                on.kernels.rmsNorm(y_TD, inPlace_TD, on.in(w_D), 1e-6f);
                on.kernels.rmsNorm(inPlace_TD, inPlace_TD, on.in(w_D), 1e-6f);
                assertClose(shape, values(expected_TD), on.floats(y_TD), D, fp32(D), 0);
                assertSame(shape + " in place", on.floats(y_TD), on.floats(inPlace_TD));
            }
        }
    }

    @ParameterizedTest
    @MethodSource("matrices")
    void swiglu(Variant variant, Matrix shape) {
        int N = shape.T, F = shape.D;
        try (var on = new On(variant.open())) {
            var make = new Given(on.arena, SEED);
            Tensor gate_NF = make.floats(12, N, F), up_NF = make.floats(3, N, F);
            // Where exp overflows or vanishes, and what is no number.
            float[] special = {
                0, -0.0f, 1e-30f, -1e-30f, 30, -30, 88, -88, 104, -104, 1e4f, -1e4f, Float.NaN, Float.POSITIVE_INFINITY
            };
            if (F >= 69) for (int i = 0; i < special.length; i++) gate_NF.setFloat((N - 1L) * F + 5L * i, special[i]);
            var expected_NF = Tensor.allocate(on.arena, DType.F32, N, F);
            reference.swiglu(expected_NF, gate_NF, up_NF);
            Tensor y_NF = on.out(N, F), gate = on.in(gate_NF), up = on.in(up_NF);
            on.kernels.swiglu(y_NF, gate, up);
            // exp in fp32 is off by about 2 ulp.
            assertClose(shape, values(expected_NF), on.floats(y_NF), F, 1e-5, 0);
            on.kernels.swiglu(gate, gate, up);
            assertSame(shape + " into gate", on.floats(y_NF), on.floats(gate));
            on.kernels.swiglu(up, on.in(gate_NF), up);
            assertSame(shape + " into up", on.floats(y_NF), on.floats(up));
        }
    }

    @ParameterizedTest
    @MethodSource("matrices")
    void add(Variant variant, Matrix shape) {
        int T = shape.T, D = shape.D;
        try (var on = new On(variant.open())) {
            var make = new Given(on.arena, SEED);
            Tensor expected_TD = make.floats(1, T, D), x_TD = make.floats(1e3f, T, D);
            if (T > 2) x_TD.setFloat(D, Float.NaN);
            if (T > 2) x_TD.setFloat(2L * D, Float.NEGATIVE_INFINITY);
            var y_TD = on.in(expected_TD);
            reference.add(expected_TD, x_TD);
            on.kernels.add(y_TD, on.in(x_TD));
            assertSame(shape, values(expected_TD), on.floats(y_TD));
        }
    }

    /** Scores of both kinds; what a gate says may be far out, and may be no number. */
    @ParameterizedTest
    @MethodSource("matrices")
    void score(Variant variant, Matrix shape) {
        int T = shape.T, E = shape.D;
        for (var scoring : Scoring.values()) {
            try (var on = new On(variant.open())) {
                var make = new Given(on.arena, SEED);
                var expected_TE = make.floats(12, T, E);
                float[] special = {0, -0.0f, 88, -88, 104, -104, 1e4f, -1e4f};
                if (E >= 69) for (int i = 0; i < special.length; i++) expected_TE.setFloat(E + 5L * i, special[i]);
                if (T > 2) expected_TE.setFloat(0, Float.NaN);
                if (T > 2) expected_TE.setFloat(3L * E - 1, Float.NEGATIVE_INFINITY);
                var y_TE = on.in(expected_TE);
                reference.score(expected_TE, scoring);
                on.kernels.score(y_TE, scoring);
                // exp in fp32 is off by about 2 ulp.
                assertClose(shape + " " + scoring, values(expected_TE), on.floats(y_TE), E, 1e-5, 0);
            }
        }
    }

    record Routed(int T, GroupLimitedTopK rule, boolean biased) {}

    static Stream<Arguments> routings() {
        return eachWith(List.of(
                new Routed(0, new GroupLimitedTopK(8, 2, 1, 1, 1, false, 1), true),
                new Routed(1, new GroupLimitedTopK(1, 1, 1, 1, 1, true, 1), true),
                new Routed(9, new GroupLimitedTopK(256, 8, 8, 4, 2, true, 2.5f), true), // V3
                new Routed(70, new GroupLimitedTopK(256, 8, 8, 4, 2, true, 2.5f), true),
                new Routed(5, new GroupLimitedTopK(160, 6, 8, 3, 1, false, 16), true), // V2
                new Routed(5, new GroupLimitedTopK(64, 6, 1, 1, 1, false, 1), false), // V2-Lite
                new Routed(5, new GroupLimitedTopK(384, 8, 1, 1, 2, true, 2.827f), true), // Kimi K2
                new Routed(7, new GroupLimitedTopK(33, 11, 3, 1, 2, true, 1), true),
                new Routed(7, new GroupLimitedTopK(6, 6, 3, 3, 2, true, 1), true),
                new Routed(3, new GroupLimitedTopK(1000, 40, 5, 2, 2, true, 1), true)));
    }

    /** Choices, shares and order are equal bit for bit: comparisons, one sum in a fixed order, one quotient, one product. */
    @ParameterizedTest
    @MethodSource("routings")
    void route(Variant variant, Routed shape) {
        int T = shape.T, E = shape.rule.experts(), K = shape.rule.chosen();
        try (var on = new On(variant.open())) {
            var make = new Given(on.arena, SEED);
            Tensor score_TE = make.floats(1, T, E), bias_E = make.floats(shape.biased ? 0.3f : 0, E);
            for (int i = 0; i < T * E; i++) {
                float score = Math.abs(score_TE.getFloat(i));
                switch (i / E % 7) {
                    case 1 -> score = Math.round(4 * score) / 4f; // ties, once the bias is even
                    case 2 -> score = 0.5f;
                    case 3 -> score = i % 5 == 0 ? Float.NaN : score;
                    case 4 -> score = i % E < E - 1 ? Float.NEGATIVE_INFINITY : score; // fewer than K to choose from
                    case 6 -> score = i % 9 == 0 ? Float.POSITIVE_INFINITY : score;
                    default -> {}
                }
                score_TE.setFloat(i, score);
            }
            for (int e = 0; e < E; e++) if (T % 2 == 1) bias_E.setFloat(e, Math.round(4 * bias_E.getFloat(e)) / 4f);
            var expected = new Routes(
                    Tensor.allocate(on.arena, DType.I32, T, K),
                    Tensor.allocate(on.arena, DType.F32, T, K),
                    Tensor.allocate(on.arena, DType.I32, E + 1),
                    Tensor.allocate(on.arena, DType.I32, (long) T * K),
                    Tensor.allocate(on.arena, DType.F32, (long) T * K));
            reference.route(expected, score_TE, bias_E, shape.rule);
            var actual = new Routes(
                    on.out(DType.I32, T, K),
                    on.out(T, K),
                    on.out(DType.I32, E + 1),
                    on.out(DType.I32, (long) T * K),
                    on.out((long) T * K));
            on.kernels.route(actual, on.in(score_TE), on.in(bias_E), shape.rule);
            assertThat(on.ints(actual.expert_TK())).isEqualTo(ints(expected.expert_TK()));
            assertSame(shape, values(expected.share_TK()), on.floats(actual.share_TK()));
            assertThat(on.ints(actual.offset_E1())).isEqualTo(ints(expected.offset_E1()));
            assertThat(on.ints(actual.token_N())).isEqualTo(ints(expected.token_N()));
            assertSame(shape, values(expected.weight_N()), on.floats(actual.weight_N()));
        }
    }

    private static int[] ints(Tensor tensor) {
        return IntStream.range(0, (int) tensor.size()).map(tensor::getInt).toArray();
    }

    @ParameterizedTest
    @MethodSource("matrices")
    void gather(Variant variant, Matrix shape) {
        int T = Math.max(1, shape.T), D = shape.D, N = 2 * shape.T;
        try (var on = new On(variant.open())) {
            var make = new Given(on.arena, SEED);
            var x_TD = make.floats(1, T, D);
            if (T > 2) x_TD.setFloat(D, Float.NaN);
            var token_N = make.ints(N, n -> make.random.nextInt(T));
            var expected_ND = Tensor.allocate(on.arena, DType.F32, N, D);
            reference.gather(expected_ND, x_TD, token_N);
            var y_ND = on.out(N, D);
            on.kernels.gather(y_ND, on.in(x_TD), on.in(token_N));
            assertSame(shape, values(expected_ND), on.floats(y_ND));
        }
    }

    @ParameterizedTest
    @MethodSource("matrices")
    void combine(Variant variant, Matrix shape) {
        int T = Math.max(1, shape.T), D = shape.D, N = 4 * shape.T;
        try (var on = new On(variant.open())) {
            var make = new Given(on.arena, SEED);
            Tensor expected_TD = make.floats(1, T, D), x_ND = make.floats(1, N, D), weight_N = make.floats(2.5f, N);
            if (N > 2) x_ND.setFloat(D, Float.NaN);
            // Some tokens have many rows, the first has none.
            var token_N = make.ints(N, n -> T == 1 ? 0 : 1 + make.random.nextInt(T - 1));
            var y_TD = on.in(expected_TD);
            var untouched = Arrays.copyOf(values(expected_TD), T == 1 ? 0 : D);
            reference.combine(expected_TD, x_ND, token_N, weight_N);
            on.kernels.combine(y_TD, on.in(x_ND), on.in(token_N), on.in(weight_N));
            assertClose(shape, values(expected_TD), on.floats(y_TD), D, 1e-5, 1);
            assertSame(shape, untouched, Arrays.copyOf(on.floats(y_TD), untouched.length));
        }
    }

    @ParameterizedTest
    @MethodSource("matrices")
    void embed(Variant variant, Matrix shape) {
        int T = shape.T, D = shape.D, V = 37;
        for (var format : QuantFormat.values()) {
            if (!variant.has(format)) continue;
            try (var on = new On(variant.open())) {
                var make = new Given(on.arena, SEED);
                var w_VD = make.weight(format, V, D);
                var token_T = make.ints(T, t -> t % 3 == 0 ? V - 1 : make.random.nextInt(V));
                var expected_TD = Tensor.allocate(on.arena, DType.F32, T, D);
                reference.embed(expected_TD, w_VD, token_T);
                var y_TD = on.out(T, D);
                on.kernels.embed(y_TD, on.in(w_VD), on.in(token_T));
                assertSame(shape + " " + format, values(expected_TD), on.floats(y_TD));
            }
        }
    }

    @ParameterizedTest
    @MethodSource("matrices")
    void argmax(Variant variant, Matrix shape) {
        int T = shape.T, V = shape.D;
        try (var on = new On(variant.open())) {
            var make = new Given(on.arena, SEED);
            var x_TV = make.floats(1, T, V);
            for (int t = 0; t < T; t++) {
                for (int v = 0; v < V; v++) {
                    long i = (long) t * V + v;
                    switch (t % 7) {
                        case 0 -> x_TV.setFloat(i, Math.round(3 * x_TV.getFloat(i))); // many ties
                        case 1 -> x_TV.setFloat(i, v % 3 == 1 ? x_TV.getFloat(i) : Float.NaN);
                        case 2 -> x_TV.setFloat(i, Float.NaN);
                        case 3 -> x_TV.setFloat(i, v < V - 2 ? Float.NaN : Float.NEGATIVE_INFINITY);
                        case 4 -> x_TV.setFloat(i, v % 2 == 0 ? -0.0f : 0.0f); // equal, so the first wins
                        case 5 -> x_TV.setFloat(i, v == V / 2 ? Float.POSITIVE_INFINITY : x_TV.getFloat(i));
                        default -> {}
                    }
                }
            }
            var expected_T = Tensor.allocate(on.arena, DType.I32, T);
            reference.argmax(expected_T, x_TV);
            var index_T = on.out(DType.I32, T);
            on.kernels.argmax(index_T, on.in(x_TV));
            for (int t = 0; t < T; t++)
                assertThat(on.ints(index_T)[t]).as("row %d", t).isEqualTo(expected_T.getInt(t));
        }
    }

    // ------------------------------------------------------------------------------------------------ machine

    @ParameterizedTest
    @MethodSource("everyVariant")
    void saysWhatItRunsOn(Variant variant) {
        try (var kernels = variant.open()) {
            assertThat(kernels.describe()).startsWith("backend=" + variant.name());
            if (!variant.options().isEmpty()) assertThat(kernels.describe()).endsWith(variant.options());
        }
    }

    /** Wide limits: that the units are right (bytes and operations per second), not how fast this machine is. */
    @ParameterizedTest
    @MethodSource("withAllThreads")
    void measuresTheMachine(Variant variant) {
        try (var kernels = variant.open()) {
            assertThat(kernels.readBandwidth()).isBetween(2e8f, 1e13f);
            assertThat(kernels.fmaRate()).isBetween(1e7f, 1e16f);
            if (variant.name().equals("cpu")) assertThat(kernels.int8Rate()).isBetween(1e7f, 1e17f);
            else assertThat(kernels.int8Rate()).isZero();
        }
    }

    /** What {@link Variant#has} denies is refused, by name. */
    @ParameterizedTest
    @MethodSource("everyVariant")
    void aFormatThatABackEndLacksIsRefused(Variant variant) {
        for (var format : QuantFormat.values()) {
            if (variant.has(format)) continue;
            try (var on = new On(variant.open())) {
                var w_FD = on.in(new Given(on.arena, SEED).weight(format, 3, 4));
                assertThatThrownBy(() -> on.kernels.gemm(on.out(2, 3), on.out(2, 4), w_FD))
                        .isInstanceOf(KernelException.class)
                        .hasMessage(
                                "gemm: format is %d, the CUDA back end has no such weight format".formatted(format.id));
            }
        }
    }

    static List<Variant> withAllThreads() {
        return Variant.all().stream()
                .filter(variant -> !variant.options().contains("threads=1"))
                .toList();
    }

    static List<Variant> variants() {
        return Variant.fast();
    }

    static List<Variant> everyVariant() {
        return Variant.all();
    }
}
