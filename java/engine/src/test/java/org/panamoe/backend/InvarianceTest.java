package org.panamoe.backend;

import static org.panamoe.backend.Close.assertSame;

import java.lang.foreign.Arena;
import java.util.List;
import java.util.stream.Stream;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.Arguments;
import org.junit.jupiter.params.provider.MethodSource;
import org.panamoe.tensor.QuantFormat;
import org.panamoe.tensor.Tensor;

/**
 * A row's result depends on that row and the weights alone, bit for bit: not on the other rows of the call, and not on
 * the number of threads.
 */
final class InvarianceTest {
    private static final long SEED = 4711;
    private static final int T = 37;

    /** Where each expert but the last begins among the tokens; the last one takes them all. */
    private static final int[] CHOICES = {0, 1, 1, 20, 22, T};

    /** Kernels take other ways for one row, for a few and for many: all cuts must give the same. */
    private static final List<Integer> CUTS = List.of(1, 2, 3, 5, 16);

    /** Rows [from, to) of what a function makes of {@link #T} rows. */
    interface Part {
        float[] rows(On on, int from, int to);
    }

    record Function(String name, QuantFormat format, Part part) {
        Function(String name, Part part) {
            this(name, QuantFormat.F32, part);
        }

        @Override
        public String toString() {
            return name;
        }
    }

    static Stream<Arguments> functions() {
        return functions(Variant.all());
    }

    static Stream<Arguments> functionsOnTwoThreads() {
        return functions(Variant.fast().stream()
                .filter(variant -> variant.options().contains("threads=2"))
                .toList());
    }

    private static Stream<Arguments> functions(List<Variant> variants) {
        return variants.stream()
                .flatMap(variant -> FUNCTIONS.stream()
                        .filter(function -> variant.has(function.format))
                        .map(function -> Arguments.of(variant, function)));
    }

    @ParameterizedTest
    @MethodSource("functions")
    void rowsAloneAreRowsTogether(Variant variant, Function function) {
        try (var on = new On(variant.open())) {
            float[] together = function.part.rows(on, 0, T);
            for (int cut : CUTS) {
                var parts = new float[together.length];
                for (int from = 0; from < T; from += cut) {
                    float[] part = function.part.rows(on, from, Math.min(T, from + cut));
                    System.arraycopy(part, 0, parts, from * (together.length / T), part.length);
                }
                assertSame("%s, %d rows at once".formatted(function, cut), together, parts);
            }
        }
    }

    @ParameterizedTest
    @MethodSource("functionsOnTwoThreads")
    void oneThreadIsTwoThreads(Variant variant, Function function) {
        var alone = new Variant(variant.name(), variant.options().replace("threads=2", "threads=1"));
        try (var two = new On(variant.open());
                var one = new On(alone.open())) {
            assertSame(function, function.part.rows(one, 0, T), function.part.rows(two, 0, T));
        }
    }

    /** Kernels that lack a barrier may still be right under one schedule of their threads, hardly under several. */
    @ParameterizedTest(allowZeroInvocations = true)
    @MethodSource("functionsOnTheEmulator")
    void schedulesDoNotShow(Variant variant, Function function) {
        float[] first;
        try (var on = new On(variant.open())) {
            first = function.part.rows(on, 0, T);
        }
        for (int seed = 2; seed <= 4; seed++)
            try (var on = new On(new Variant(variant.name(), "seed=" + seed).open())) {
                assertSame("%s, seed %d".formatted(function, seed), first, function.part.rows(on, 0, T));
            }
    }

    static Stream<Arguments> functionsOnTheEmulator() {
        return functions(Variant.fast().stream()
                .filter(variant -> variant.name().equals("cudaemu"))
                .toList());
    }

    private static final Arena ARENA = Arena.ofAuto();

    private static final List<Function> FUNCTIONS = functions(new Given(ARENA, SEED));

    private static List<Function> functions(Given make) {
        return Stream.of(
                        Stream.of(
                                rmsNorm(make),
                                swiglu(make),
                                add(make),
                                combine(make),
                                mlaAttention(make),
                                latentAppend(make)),
                        Stream.of(QuantFormat.values())
                                .flatMap(format -> Stream.of(
                                        gemm(make, format),
                                        groupedGemm(make, format),
                                        groupedSwiglu(make, format),
                                        groupedCombine(make, format),
                                        mlaQuery(make, format),
                                        mlaExpanded(make, format),
                                        mlaOutput(make, format))))
                .flatMap(functions -> functions)
                .toList();
    }

    private static Function rmsNorm(Given make) {
        int D = 1031;
        var x_TD = make.floats(1, T, D);
        var w_D = make.weight(QuantFormat.BF16, D);
        return new Function("rmsNorm", (on, from, to) -> {
            var y_TD = on.out(to - from, D);
            on.kernels.rmsNorm(y_TD, on.in(x_TD.rows(from, to)), on.in(w_D), 1e-6f);
            return on.floats(y_TD);
        });
    }

    private static Function swiglu(Given make) {
        int F = 1301; // more than one thread's piece
        Tensor gate_NF = make.floats(10, T, F), up_NF = make.floats(10, T, F);
        return new Function("swiglu", (on, from, to) -> {
            var y_NF = on.out(to - from, F);
            on.kernels.swiglu(y_NF, on.in(gate_NF.rows(from, to)), on.in(up_NF.rows(from, to)));
            return on.floats(y_NF);
        });
    }

    private static Function add(Given make) {
        int D = 1301;
        Tensor y_TD = make.floats(1, T, D), x_TD = make.floats(1, T, D);
        return new Function("add", (on, from, to) -> {
            var sum_TD = on.in(y_TD.rows(from, to));
            on.kernels.add(sum_TD, on.in(x_TD.rows(from, to)));
            return on.floats(sum_TD);
        });
    }

    /** Three rows for each token, in the order of an expert's rows: one after the other. */
    private static Function combine(Given make) {
        int D = 1301;
        Tensor y_TD = make.floats(1, T, D), x_ND = make.floats(1, 3 * T, D), weight_N = make.floats(2, 3 * T);
        return new Function("combine", (on, from, to) -> {
            var sum_TD = on.in(y_TD.rows(from, to));
            on.kernels.combine(
                    sum_TD,
                    on.in(x_ND.rows(3L * from, 3L * to)),
                    on.in(make.ints(3 * (to - from), n -> n / 3)),
                    on.in(weight_N.rows(3L * from, 3L * to)));
            return on.floats(sum_TD);
        });
    }

    private static Function gemm(Given make, QuantFormat format) {
        int D = 1000, F = 203;
        var x_TD = make.floats(1, T, D);
        var w_FD = make.weight(format, F, D);
        return new Function("gemm " + format, format, (on, from, to) -> {
            var y_TF = on.out(to - from, F);
            on.kernels.gemm(y_TF, on.in(x_TD.rows(from, to)), on.in(w_FD));
            return on.floats(y_TF);
        });
    }

    private static Function groupedGemm(Given make, QuantFormat format) {
        int D = 530, F = 131;
        int[] offsets = {0, 1, 1, 20, 22, T};
        var x_ND = make.floats(1, T, D);
        var w_E = make.weights(format, offsets.length - 1, F, D);
        return new Function("groupedGemm " + format, format, (on, from, to) -> {
            var offset_E1 = make.ints(offsets.length, e -> Math.clamp(offsets[e], from, to) - from);
            var y_NF = on.out(to - from, F);
            on.kernels.groupedGemm(y_NF, on.in(x_ND.rows(from, to)), on.in(w_E), on.in(offset_E1));
            return on.floats(y_NF);
        });
    }

    /** Expert e takes the tokens from cut to cut, and each token's row a second time goes to the last expert. */
    private static Function groupedSwiglu(Given make, QuantFormat format) {
        int D = 530, F = 131;
        var x_TD = make.floats(1, T, D);
        var gate_E = make.weights(format, CHOICES.length, F, D);
        var up_E = make.weights(format, CHOICES.length, F, D);
        return new Function("groupedSwiglu " + format, format, (on, from, to) -> {
            int rows = to - from;
            var y_NF = on.out(2L * rows, F);
            on.kernels.groupedSwiglu(
                    y_NF,
                    on.in(x_TD.rows(from, to)),
                    on.in(gate_E),
                    on.in(up_E),
                    on.in(offsetsTwice(make, from, to)),
                    on.in(make.ints(2 * rows, n -> n % rows)));
            return sideBySide(on.floats(y_NF), rows, F);
        });
    }

    private static Function groupedCombine(Given make, QuantFormat format) {
        int D = 131, F = 530;
        Tensor y_TD = make.floats(1, T, D), x_NF = make.floats(1, 2L * T, F), weight_N = make.floats(2, 2L * T);
        var w_E = make.weights(format, CHOICES.length, /* F= */ D, /* D= */ F);
        return new Function("groupedCombine " + format, format, (on, from, to) -> {
            int rows = to - from;
            var sum_TD = on.in(y_TD.rows(from, to));
            Tensor some_NF = on.out(2L * rows, F), some_N = on.out(2L * rows);
            on.kernels.copy(some_NF.rows(0, rows), x_NF.rows(from, to));
            on.kernels.copy(some_NF.rows(rows, 2L * rows), x_NF.rows((long) T + from, (long) T + to));
            on.kernels.copy(some_N.rows(0, rows), weight_N.rows(from, to));
            on.kernels.copy(some_N.rows(rows, 2L * rows), weight_N.rows((long) T + from, (long) T + to));
            on.kernels.groupedCombine(
                    sum_TD,
                    some_NF,
                    on.in(w_E),
                    on.in(offsetsTwice(make, from, to)),
                    on.in(make.ints(2 * rows, n -> n % rows)),
                    some_N);
            return on.floats(sum_TD);
        });
    }

    private static Tensor offsetsTwice(Given make, int from, int to) {
        return make.ints(
                CHOICES.length + 1,
                e -> e == CHOICES.length ? 2 * (to - from) : Math.clamp(CHOICES[e], from, to) - from);
    }

    /** A token's two rows, one behind the other. */
    private static float[] sideBySide(float[] values, int rows, int width) {
        var joined = new float[values.length];
        for (int t = 0; t < rows; t++) {
            System.arraycopy(values, t * width, joined, 2 * t * width, width);
            System.arraycopy(values, (rows + t) * width, joined, (2 * t + 1) * width, width);
        }
        return joined;
    }

    private static Function mlaQuery(Given make, QuantFormat format) {
        int H = 3, P = 33, U = 20, C = 72, R = 8;
        var q_THPR = make.floats(1, T, H, P + R);
        var kvB = make.weight(format, (long) H * (P + U), C);
        var position_T = make.ints(T, t -> 5 * t % 64);
        var rope = make.rope(64, R);
        return new Function("mlaQuery " + format, format, (on, from, to) -> {
            var q_THX = on.out(to - from, H, C + R);
            on.kernels.mlaQuery(
                    q_THX, on.in(q_THPR.rows(from, to)), on.in(kvB), on.in(position_T.rows(from, to)), on.in(rope));
            return on.floats(q_THX);
        });
    }

    private static Function mlaOutput(Given make, QuantFormat format) {
        int H = 3, P = 33, U = 20, C = 300;
        var o_THC = make.floats(1, T, H, C);
        var kvB = make.weight(format, (long) H * (P + U), C);
        return new Function("mlaOutput " + format, format, (on, from, to) -> {
            var o_THU = on.out(to - from, H, U);
            on.kernels.mlaOutput(o_THU, on.in(o_THC.rows(from, to)), on.in(kvB));
            return on.floats(o_THU);
        });
    }

    /** Two requests: the first T - 5 rows are a long prompt, the others stand at the end of another one. */
    private static Function mlaAttention(Given make) {
        int H = 37, C = 40, R = 8, B = 16, M = 20; // heads of several pieces
        var pages = new LatentPages(make.floats(1, 2L * M, B, C + R));
        var table_AM = make.ints(2 * M, i -> (7 * i + 3) % (2 * M)).as(2, M);
        var rows = new Rows(
                table_AM, make.ints(T, t -> t < T - 5 ? 0 : 1), make.ints(T, t -> t < T - 5 ? t + 200 : t + 270));
        var q_THX = make.floats(1, T, H, C + R);
        return new Function("mlaAttention", (on, from, to) -> {
            var o_THC = on.out(to - from, H, C);
            on.kernels.mlaAttention(o_THC, on.in(q_THX.rows(from, to)), on.in(pages), on.in(rows.rows(from, to)), 0.5f);
            return on.floats(o_THC);
        });
    }

    /** Two requests, the first one's rows on both sides of the end of a block. */
    private static Function mlaExpanded(Given make, QuantFormat format) {
        int H = 3, P = 33, U = 20, C = 72, R = 8, B = 16, M = 20;
        var pages = new LatentPages(make.floats(1, 2L * M, B, C + R));
        var table_AM = make.ints(2 * M, i -> (7 * i + 3) % (2 * M)).as(2, M);
        var rows = new Rows(
                table_AM, make.ints(T, t -> t < T - 5 ? 0 : 1), make.ints(T, t -> t < T - 5 ? t + 240 : t + 270));
        var q_THPR = make.floats(1, T, H, P + R);
        var kvB = make.weight(format, (long) H * (P + U), C);
        var rope = make.rope(320, R);
        return new Function("mlaExpanded " + format, format, (on, from, to) -> {
            var o_THU = on.out(to - from, H, U);
            on.kernels.mlaExpanded(
                    o_THU,
                    on.in(q_THPR.rows(from, to)),
                    on.in(pages),
                    on.in(kvB),
                    on.in(rows.rows(from, to)),
                    on.in(rope),
                    0.2f);
            return on.floats(o_THU);
        });
    }

    private static Function latentAppend(Given make) {
        int C = 517, R = 8, B = 16, M = 3;
        var table_AM = make.ints(M, i -> M - 1 - i).as(1, M);
        var rows = new Rows(table_AM, make.ints(T, t -> 0), make.ints(T, t -> t));
        var kv_TX = make.floats(1, T, C + R);
        var norm_C = make.weight(QuantFormat.F32, C);
        var rope = make.rope(M * B, R);
        return new Function("latentAppend", (on, from, to) -> {
            var pages = new LatentPages(on.out(M, B, C + R));
            on.kernels.latentAppend(
                    pages, on.in(kv_TX.rows(from, to)), on.in(norm_C), 1e-6f, on.in(rows.rows(from, to)), on.in(rope));
            float[] all = on.floats(pages.pages_SBX());
            var written = new float[(to - from) * (C + R)];
            for (int t = from; t < to; t++)
                System.arraycopy(all, ((M - 1 - t / B) * B + t % B) * (C + R), written, (t - from) * (C + R), C + R);
            return written;
        });
    }
}
