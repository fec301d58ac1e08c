package org.panamoe.backend;

import static org.panamoe.backend.Close.assertSame;

import java.lang.foreign.Arena;
import java.lang.foreign.ValueLayout;
import java.util.ArrayList;
import java.util.List;
import java.util.stream.Stream;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.Arguments;
import org.junit.jupiter.params.provider.MethodSource;
import org.panamoe.tensor.DType;
import org.panamoe.tensor.QuantFormat;
import org.panamoe.tensor.Tensor;
import org.panamoe.tensor.Weight;

/**
 * A device and its emulator run the same sources. Where only copies, integers and single IEEE operations occur, and on
 * products of small integers under scales that are powers of two, where every sum is exact in fp32 in whatever order,
 * they agree bit for bit. What differs here is no rounding: a layout, a swizzle, a descriptor, a fragment or a wait that
 * the device takes otherwise than the emulator.
 *
 * <p>That the inputs are as exact as this says is seen without a device: every back end gives the reference's bits.
 */
final class TwinTest {
    private static final long SEED = 20250711;
    private static final List<String> OPTIONS = List.of("math=exact", "math=tensor");

    /** What a back end makes of the case's inputs; whole numbers as floats. */
    interface Computation {
        float[] on(On on);
    }

    record Case(String name, Computation computation, boolean bf16Cache) {
        Case(String name, Computation computation) {
            this(name, computation, false);
        }

        @Override
        public String toString() {
            return name;
        }
    }

    static Stream<Arguments> optionsAndCases() {
        return OPTIONS.stream().flatMap(options -> CASES.stream().map(given -> Arguments.of(options, given)));
    }

    static Stream<Arguments> variantsAndCases() {
        var host = Variant.fast().stream().filter(variant -> variant.name().equals("cpu"));
        var emulated = OPTIONS.stream().map(options -> new Variant("cudaemu", options));
        return Stream.concat(host, emulated)
                .flatMap(variant -> CASES.stream()
                        .filter(given -> !given.bf16Cache || !variant.name().equals("cpu"))
                        .map(given -> Arguments.of(variant, given)));
    }

    @ParameterizedTest
    @MethodSource("optionsAndCases")
    void theDeviceIsItsEmulator(String options, Case given) {
        try (var device = new On(new Variant("cuda", options).open());
                var emulator = new On(new Variant("cudaemu", options).open())) {
            assertSame(given, given.computation.on(emulator), given.computation.on(device));
        }
    }

    @ParameterizedTest
    @MethodSource("variantsAndCases")
    void everyBackEndGivesTheReferencesBits(Variant variant, Case given) {
        try (var reference = new On(new ReferenceKernels());
                var on = new On(variant.open())) {
            assertSame(given, given.computation.on(reference), given.computation.on(on));
        }
    }

    // -------------------------------------------------------------------------------------------------- inputs

    private static final int LARGEST = 7;

    /** Codes of 0 to 7. */
    private static final byte[] E4M3 = {0x00, 0x38, 0x40, 0x44, 0x48, 0x4a, 0x4c, 0x4e};

    /**
     * Whole numbers from -7 to 7. Of each row's 128 channels the first is 7: a kernel that takes activations as e4m3 with
     * one scale for 128 channels then finds the scale 7/448 = 2^-6, and every number is exact in e4m3.
     */
    private static Tensor whole(Given make, long... shape) {
        var tensor = Tensor.allocate(make.arena, DType.F32, shape);
        long row = shape[shape.length - 1];
        for (long i = 0; i < tensor.size(); i++) tensor.setFloat(i, i % row % 128 == 0 ? LARGEST : whole(make));
        return tensor;
    }

    /** Whole numbers from -7 to 7; scales are powers of two. */
    private static Weight wholeWeight(Given make, QuantFormat format, long... shape) {
        var data = Tensor.allocate(make.arena, format.stored, shape);
        for (long i = 0; i < data.size(); i++) {
            int value = whole(make);
            switch (format) {
                case F32 -> data.setFloat(i, value);
                case BF16 -> data.data.setAtIndex(ValueLayout.JAVA_SHORT, i, Given.bf16(value));
                case F8_E4M3_B128 -> {
                    int code = E4M3[Math.abs(value)] | (value < 0 ? 0x80 : 0);
                    data.data.set(ValueLayout.JAVA_BYTE, i, (byte) code);
                }
                case INT8, INT4 -> throw new IllegalArgumentException("no device has " + format);
            }
        }
        if (!format.scaled()) return new Weight(format, data, null);
        var scale = Tensor.allocate(
                make.arena, format.scales, Math.ceilDiv(shape[0], format.block), Math.ceilDiv(shape[1], format.block));
        for (long i = 0; i < scale.size(); i++) scale.setFloat(i, (float) Math.scalb(1.0, make.random.nextInt(-2, 3)));
        return new Weight(format, data, scale);
    }

    private static int whole(Given make) {
        return make.random.nextInt(-LARGEST, LARGEST + 1);
    }

    /** Pairs of which every product with a whole number is exact: a turn by quarters, and a half that is no turn. */
    private static Rope exactRope(Given make, int S, int R) {
        float[][] pairs = {{1, 0}, {0, 1}, {-1, 0}, {0, -1}, {0.5f, -0.5f}};
        int Z = R / 2;
        Tensor cos_SZ = Tensor.allocate(make.arena, DType.F32, S, Z),
                sin_SZ = Tensor.allocate(make.arena, DType.F32, S, Z);
        for (int i = 0; i < S * Z; i++) {
            float[] pair = pairs[make.random.nextInt(pairs.length)];
            cos_SZ.setFloat(i, pair[0]);
            sin_SZ.setFloat(i, pair[1]);
        }
        return new Rope(cos_SZ, sin_SZ);
    }

    /** As a model's weights lie on a device: aligned, so that kernels which ask for it take them. */
    private static Weight aligned(On on, Weight host) {
        return host.copied(on::in);
    }

    // --------------------------------------------------------------------------------------------------- cases

    private static final Arena ARENA = Arena.ofAuto();

    private static final List<Case> CASES = all(new Given(ARENA, SEED));

    private static List<Case> all(Given make) {
        var cases = new ArrayList<Case>();
        for (int D : new int[] {1, 69, 1031, 7168}) {
            cases.add(gather(make, D));
            cases.add(combine(make, D));
            cases.add(add(make, D));
            cases.add(embed(make, QuantFormat.F32, D));
            cases.add(embed(make, QuantFormat.BF16, D));
            cases.add(argmax(make, D));
        }
        cases.add(route(make, 3, new GroupLimitedTopK(256, 8, 8, 4, 2, true, 2.5f))); // V3
        cases.add(route(make, 70, new GroupLimitedTopK(256, 8, 8, 4, 2, true, 2.5f)));
        cases.add(route(make, 5, new GroupLimitedTopK(160, 6, 8, 3, 1, false, 16))); // V2
        cases.add(route(make, 5, new GroupLimitedTopK(384, 8, 1, 1, 2, true, 2.827f))); // Kimi K2
        for (var format : QuantFormat.values()) {
            if (format.integer()) continue; // no device has them
            cases.add(gemm(make, format, 1, 128, 64));
            cases.add(gemm(make, format, 5, 300, 131));
            cases.add(gemm(make, format, 16, 512, 128));
            cases.add(gemm(make, format, 100, 256, 192));
            cases.add(gemm(make, format, 2, 7168, 64));
            cases.add(groupedGemm(make, format, 256, 128, 0, 1, 1, 9, 11, 40));
            cases.add(groupedGemm(make, format, 200, 130, 0, 0, 3, 3));
            cases.add(groupedGemm(make, format, 128, 128, 0, 0, 130, 131));
            cases.add(groupedCombine(make, format, 256, 130, 0, 1, 1, 9, 40));
            cases.add(groupedCombine(make, format, 128, 128, 0, 130));
            cases.add(mlaQuery(make, format, 3, 3, 33, 20, 72, 8));
            cases.add(mlaQuery(make, format, 2, 2, 128, 128, 512, 64));
            cases.add(mlaOutput(make, format, 3, 3, 33, 20, 72));
            cases.add(mlaOutput(make, format, 2, 2, 128, 128, 512));
            cases.add(mlaExpanded(make, format, 3, 33, 20, 72, 8, 16));
            cases.add(mlaExpanded(make, format, 2, 128, 128, 512, 64, 64));
        }
        for (var type : List.of(DType.F32, DType.BF16)) {
            cases.add(attendToOne(make, type, 3, 96, 8, 16));
            cases.add(attendToOne(make, type, 16, 512, 64, 64));
            cases.add(attendToOne(make, type, 64, 512, 64, 64));
            cases.add(attendToAll(make, type, 3, 96, 8, 16));
            cases.add(attendToAll(make, type, 16, 512, 64, 64));
        }
        return List.copyOf(cases);
    }

    private static Case gather(Given make, int D) {
        int T = 9, N = 20;
        var x_TD = make.floats(1, T, D);
        x_TD.setFloat(D, Float.NaN);
        var token_N = make.ints(N, n -> make.random.nextInt(T));
        return new Case("gather " + D, on -> {
            var y_ND = on.out(N, D);
            on.kernels.gather(y_ND, on.in(x_TD), on.in(token_N));
            return on.floats(y_ND);
        });
    }

    private static Case combine(Given make, int D) {
        int T = 5, N = 20;
        Tensor y_TD = whole(make, T, D), x_ND = whole(make, N, D), weight_N = Tensor.allocate(ARENA, DType.F32, N);
        for (int n = 0; n < N; n++) weight_N.setFloat(n, (float) Math.scalb(1.0, make.random.nextInt(-3, 2)));
        var token_N = make.ints(N, n -> 1 + make.random.nextInt(T - 1));
        return new Case("combine " + D, on -> {
            var there = on.in(y_TD);
            on.kernels.combine(there, on.in(x_ND), on.in(token_N), on.in(weight_N));
            return on.floats(there);
        });
    }

    private static Case add(Given make, int D) {
        Tensor y_TD = make.floats(1, 3, D), x_TD = make.floats(1e3f, 3, D);
        return new Case("add " + D, on -> {
            var there = on.in(y_TD);
            on.kernels.add(there, on.in(x_TD));
            return on.floats(there);
        });
    }

    private static Case embed(Given make, QuantFormat format, int D) {
        int T = 7, V = 37;
        var w_VD = make.weight(format, V, D);
        var token_T = make.ints(T, t -> t % 3 == 0 ? V - 1 : make.random.nextInt(V));
        return new Case("embed %s %d".formatted(format, D), on -> {
            var y_TD = on.out(T, D);
            on.kernels.embed(y_TD, aligned(on, w_VD), on.in(token_T));
            return on.floats(y_TD);
        });
    }

    /** Ties in the even rows. */
    private static Case argmax(Given make, int V) {
        int T = 6;
        var x_TV = make.floats(1, T, V);
        for (int i = 0; i < T * V; i++) if (i / V % 2 == 0) x_TV.setFloat(i, Math.round(3 * x_TV.getFloat(i)));
        return new Case("argmax " + V, on -> {
            var index_T = on.out(DType.I32, T);
            on.kernels.argmax(index_T, on.in(x_TV));
            return asFloats(on.ints(index_T));
        });
    }

    /** Scores with ties; comparisons, one sum in a fixed order, one quotient and one product. */
    private static Case route(Given make, int T, GroupLimitedTopK rule) {
        int E = rule.experts(), K = rule.chosen();
        var score_TE = make.floats(1, T, E);
        for (int i = 0; i < T * E; i++) {
            float score = Math.abs(score_TE.getFloat(i));
            score_TE.setFloat(i, i / E % 2 == 0 ? score : Math.round(16 * score) / 16f);
        }
        var bias_E = Tensor.allocate(ARENA, DType.F32, E);
        for (int e = 0; e < E; e++) bias_E.setFloat(e, make.random.nextInt(4) / 16f);
        return new Case("route %d of %d, %d tokens".formatted(K, E, T), on -> {
            var routes = new Routes(
                    on.out(DType.I32, T, K),
                    on.out(T, K),
                    on.out(DType.I32, E + 1),
                    on.out(DType.I32, (long) T * K),
                    on.out((long) T * K));
            on.kernels.route(routes, on.in(score_TE), on.in(bias_E), rule);
            return joined(
                    asFloats(on.ints(routes.expert_TK())),
                    on.floats(routes.share_TK()),
                    asFloats(on.ints(routes.offset_E1())),
                    asFloats(on.ints(routes.token_N())),
                    on.floats(routes.weight_N()));
        });
    }

    private static Case gemm(Given make, QuantFormat format, int T, int D, int F) {
        var x_TD = whole(make, T, D);
        var w_FD = wholeWeight(make, format, F, D);
        return new Case("gemm %s %d x %d x %d".formatted(format, T, D, F), on -> {
            var y_TF = on.out(T, F);
            on.kernels.gemm(y_TF, on.in(x_TD), aligned(on, w_FD));
            return on.floats(y_TF);
        });
    }

    private static Case groupedGemm(Given make, QuantFormat format, int D, int F, int... offsets) {
        int N = offsets[offsets.length - 1], E = offsets.length - 1;
        var x_ND = whole(make, N, D);
        var w_E =
                Stream.generate(() -> wholeWeight(make, format, F, D)).limit(E).toList();
        var offset_E1 = make.ints(E + 1, e -> offsets[e]);
        return new Case("groupedGemm %s %d experts, %d x %d x %d".formatted(format, E, N, D, F), on -> {
            var y_NF = on.out(N, F);
            var there = w_E.stream().map(w_FD -> aligned(on, w_FD)).toList();
            on.kernels.groupedGemm(y_NF, on.in(x_ND), new ExpertTable(on.kernels, on.arena, there), on.in(offset_E1));
            return on.floats(y_NF);
        });
    }

    /** Products of whole numbers, weighted by powers of two; all of swiglu but its exp is groupedGemm and gather. */
    private static Case groupedCombine(Given make, QuantFormat format, int F, int D, int... offsets) {
        int T = 7, N = offsets[offsets.length - 1], E = offsets.length - 1;
        Tensor y_TD = whole(make, T, D), x_NF = whole(make, N, F), weight_N = Tensor.allocate(ARENA, DType.F32, N);
        for (int n = 0; n < N; n++) weight_N.setFloat(n, (float) Math.scalb(1.0, make.random.nextInt(-3, 2)));
        var w_E =
                Stream.generate(() -> wholeWeight(make, format, D, F)).limit(E).toList();
        Tensor offset_E1 = make.ints(E + 1, e -> offsets[e]), token_N = make.ints(N, n -> make.random.nextInt(T));
        return new Case("groupedCombine %s %d experts, %d x %d x %d".formatted(format, E, N, F, D), on -> {
            var there = on.in(y_TD);
            var experts = new ExpertTable(
                    on.kernels, on.arena, w_E.stream().map(w -> aligned(on, w)).toList());
            on.kernels.groupedCombine(there, on.in(x_NF), experts, on.in(offset_E1), on.in(token_N), on.in(weight_N));
            return on.floats(there);
        });
    }

    private static Case mlaQuery(Given make, QuantFormat format, int T, int H, int P, int U, int C, int R) {
        int S = 40;
        var q_THPR = whole(make, T, H, P + R);
        var kvB = wholeWeight(make, format, (long) H * (P + U), C);
        var position_T = make.ints(T, t -> (t * 31 + 39) % S);
        var rope = exactRope(make, S, R);
        return new Case("mlaQuery %s %d rows, %d heads, C %d".formatted(format, T, H, C), on -> {
            var q_THX = on.out(T, H, C + R);
            on.kernels.mlaQuery(q_THX, on.in(q_THPR), aligned(on, kvB), on.in(position_T), on.in(rope));
            return on.floats(q_THX);
        });
    }

    private static Case mlaOutput(Given make, QuantFormat format, int T, int H, int P, int U, int C) {
        var o_THC = whole(make, T, H, C);
        var kvB = wholeWeight(make, format, (long) H * (P + U), C);
        return new Case("mlaOutput %s %d rows, %d heads, C %d".formatted(format, T, H, C), on -> {
            var o_THU = on.out(T, H, U);
            on.kernels.mlaOutput(o_THU, on.in(o_THC), aligned(on, kvB));
            return on.floats(o_THU);
        });
    }

    /**
     * Each query is one of the keys that it may see, and the scale is such that scores are whole powers of 2: that key
     * leads by so much that every other one's share is 0 in fp32, and the result is a copy of its first C values. Each head takes another key.
     */
    private static Case attendToOne(Given make, DType type, int H, int C, int R, int B) {
        // 2 rows of a request that ends in its third page, and 3 of one in its second
        int[] length = {2 * B + 2, B + 1};
        var cache = new Cache(make, type, length, C, R, B);
        int T = 5;
        var request_T = make.ints(T, t -> t < 2 ? 0 : 1);
        var position_T = make.ints(T, t -> t < 2 ? length[0] - 2 + t : length[1] - 5 + t);
        var q_THX = Tensor.allocate(ARENA, DType.F32, T, H, cache.X);
        for (int t = 0; t < T; t++)
            for (int h = 0; h < H; h++) {
                int chosen = (131 * t + 37 * h + 5) % (position_T.getInt(t) + 1);
                for (int x = 0; x < cache.X; x++)
                    q_THX.setFloat(((long) t * H + h) * cache.X + x, cache.value(request_T.getInt(t), chosen, x));
            }
        var rows = new Rows(cache.table_AM, request_T, position_T);
        Computation computation = on -> {
            var o_THC = on.out(T, H, C);
            on.kernels.mlaAttention(o_THC, on.in(q_THX), on.in(cache.pages), on.in(rows), 64 / 1.442695f);
            return on.floats(o_THC);
        };
        return new Case(
                "mlaAttention to one key, %s, %d heads, C %d".formatted(type, H, C), computation, type == DType.BF16);
    }

    /** Queries of zeros see 1, 2, 16 and 64 keys: the result is their mean, a sum times a power of two. */
    private static Case attendToAll(Given make, DType type, int H, int C, int R, int B) {
        int[] seen = {1, 2, 16, 64};
        int T = seen.length;
        var cache = new Cache(make, type, seen, C, R, B);
        var q_THX = Tensor.allocate(ARENA, DType.F32, T, H, cache.X);
        var rows = new Rows(cache.table_AM, make.ints(T, t -> t), make.ints(T, t -> seen[t] - 1));
        Computation computation = on -> {
            var o_THC = on.out(T, H, C);
            on.kernels.mlaAttention(o_THC, on.in(q_THX), on.in(cache.pages), on.in(rows), 1);
            return on.floats(o_THC);
        };
        return new Case(
                "mlaAttention to all keys, %s, %d heads, C %d".formatted(type, H, C), computation, type == DType.BF16);
    }

    /** Queries of zeros once more: values of a head are whole numbers, too, times powers of two. */
    private static Case mlaExpanded(Given make, QuantFormat format, int H, int P, int U, int C, int R, int B) {
        int[] seen = {1, 2, 16, 64};
        int T = seen.length;
        var cache = new Cache(make, DType.F32, seen, C, R, B);
        var q_THPR = Tensor.allocate(ARENA, DType.F32, T, H, P + R);
        var kvB = wholeWeight(make, format, (long) H * (P + U), C);
        var rope = exactRope(make, 64, R);
        var rows = new Rows(cache.table_AM, make.ints(T, t -> t), make.ints(T, t -> seen[t] - 1));
        return new Case("mlaExpanded %s, %d heads, C %d".formatted(format, H, C), on -> {
            var o_THU = on.out(T, H, U);
            on.kernels.mlaExpanded(
                    o_THU, on.in(q_THPR), on.in(cache.pages), aligned(on, kvB), on.in(rows), on.in(rope), 1);
            return on.floats(o_THU);
        });
    }

    /** Requests of whole numbers, each in pages of its own in descending order; what nobody may look at is NaN. */
    private static final class Cache {
        final LatentPages pages;
        final Tensor table_AM;
        final int X;
        private final int B;
        private final Tensor whole_SBX;

        Cache(Given make, DType type, int[] lengths, int C, int R, int B) {
            int A = lengths.length, M = 1;
            for (int length : lengths) M = Math.max(M, Math.ceilDiv(length, B));
            int last = A * M;
            X = C + R;
            this.B = B;
            table_AM = make.ints(A * M, i -> last - i).as(A, M);
            whole_SBX = Tensor.allocate(make.arena, DType.F32, last + 1, B, X);
            for (long i = 0; i < whole_SBX.size(); i++) whole_SBX.setFloat(i, Float.NaN);
            for (int a = 0; a < A; a++)
                for (int s = 0; s < lengths[a]; s++)
                    for (int x = 0; x < X; x++) whole_SBX.setFloat(at(a, s, x), whole(make));
            pages = new LatentPages(type == DType.BF16 ? Given.inBf16(make.arena, whole_SBX) : whole_SBX);
        }

        float value(int request, int position, int x) {
            return whole_SBX.getFloat(at(request, position, x));
        }

        private long at(int request, int position, int x) {
            int page = table_AM.getInt((long) request * table_AM.dim(1) + position / B);
            return ((long) page * B + position % B) * X + x;
        }
    }

    private static float[] asFloats(int[] ints) {
        var floats = new float[ints.length];
        for (int i = 0; i < ints.length; i++) floats[i] = ints[i];
        return floats;
    }

    private static float[] joined(float[]... parts) {
        int length = 0;
        for (float[] part : parts) length += part.length;
        var all = new float[length];
        int at = 0;
        for (float[] part : parts) {
            System.arraycopy(part, 0, all, at, part.length);
            at += part.length;
        }
        return all;
    }
}
