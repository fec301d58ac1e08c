package org.panamoe.benchmarks;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.within;
import static org.junit.jupiter.params.provider.Arguments.argumentSet;

import java.lang.foreign.Arena;
import java.lang.reflect.Method;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.function.Supplier;
import java.util.stream.Collectors;
import java.util.stream.Stream;
import org.junit.jupiter.api.Assumptions;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.Arguments;
import org.junit.jupiter.params.provider.EnumSource;
import org.junit.jupiter.params.provider.MethodSource;
import org.openjdk.jmh.annotations.Benchmark;
import org.panamoe.backend.Kernels;
import org.panamoe.bench.Machine;
import org.panamoe.bench.Shape;
import org.panamoe.bench.kernel.Caches;
import org.panamoe.bench.kernel.Gemm;
import org.panamoe.bench.kernel.GroupedGemm;
import org.panamoe.tensor.DType;
import org.panamoe.tensor.QuantFormat;
import org.panamoe.tensor.Tensor;

/** What holds of every benchmark of a kernel. */
class KernelBenchmarksTest {
    /** What they are in the sizes of V2-Lite with 3 rows, and what a call must move and compute then, by hand. */
    record Counted(Supplier<KernelBenchmark> made, double bytes, double flops) {}

    private static final int D = 2048, H = 16, C = 512, R = 64, P = 128, U = 128, F = 1408, E = 64, K = 6, V = 102400;

    private static final Map<String, Counted> ALL = new LinkedHashMap<>();

    static {
        add(small(RmsNormBenchmark::new), 4 * 3 * 2 * D + 2 * D, 4 * 3 * D);
        add(small(LatentAppendBenchmark::new), 4 * 3 * (2 * (C + R) + R + 2) + 2 * C, 3 * (4 * C + 3 * R));
        add(small(ScoreBenchmark::new), 4 * 3 * 2 * E, 3 * 4 * E);
        add(small(GatherBenchmark::new), 4 * 3 * (D + K * D + K), 0);
        add(small(CombineBenchmark::new), 4 * 3 * (2 * D + K * D + 2 * K), 3 * 2 * K * D);
        add(small(SwigluBenchmark::new), 4 * 3 * 3 * F, 3 * 5 * F);
        add(small(AddBenchmark::new), 4 * 3 * 3 * D, 3 * D);
        add(small(EmbedBenchmark::new), 3 * (2 * D + 4 * D + 4), 0);
        add(small(ArgmaxBenchmark::new), 3 * (4 * V + 4), 0);
        for (var format : QuantFormat.values()) {
            // Shared experts have two experts' width.
            add(small(GemmBenchmark::new, format), stored(format, 2 * F, D) + 4 * 3 * (D + 2 * F), 3 * 2.0 * D * 2 * F);
            add(
                    small(MlaQueryBenchmark::new, format),
                    stored(format, H * P, C) + 4 * 3 * (H * (P + R) + H * (C + R) + R + 1),
                    3.0 * H * (2 * P * C + 3 * R));
            add(
                    small(MlaOutputBenchmark::new, format),
                    stored(format, H * U, C) + 4 * 3 * H * (C + U),
                    3.0 * H * 2 * U * C);
            add(
                    () -> {
                        var benchmark = new GroupedGemmBenchmark();
                        benchmark.format = format;
                        benchmark.experts = K;
                        benchmark.expert = "130x192";
                        return benchmark;
                    },
                    stored(format, K * 130, 192, 130) + 4 * K * (192 + 130),
                    K * 2 * 192 * 130);
            add(
                    small(GroupedSwigluBenchmark::new, format),
                    2 * stored(format, K * F, D, F) + 4 * 3 * (D + K * F + K),
                    3.0 * K * F * (4 * D + 5));
            add(
                    small(GroupedCombineBenchmark::new, format),
                    stored(format, K * D, F, D) + 4 * 3 * (2 * D + K * F + 2 * K),
                    3.0 * K * 2 * D * (F + 1));
            add(
                    () -> {
                        var benchmark = new MlaExpandedBenchmark();
                        benchmark.shape = Shape.V2_LITE;
                        benchmark.rows = 3;
                        benchmark.depth = 7;
                        benchmark.format = format;
                        return benchmark;
                    },
                    stored(format, H * (P + U), C) + 4 * (10 * (C + R) + 3 * (H * (P + R + U) + R + 1)),
                    H * (2.0 * 10 * (P + U) * C + 2 * 27 * (P + R + U) + 3 * 3 * R));
        }
        add(
                () -> {
                    var benchmark = new MlaAttentionBenchmark();
                    benchmark.heads = H;
                    benchmark.depth = 130;
                    benchmark.batch = 2;
                    return benchmark;
                },
                2 * 4 * (130 * (C + R) + H * (C + R + C)),
                2 * H * 130 * 2.0 * (C + R + C));
        add(
                () -> {
                    var benchmark = new RouteBenchmark();
                    benchmark.rule = Shape.V2_LITE;
                    benchmark.tokens = 3;
                    return benchmark;
                },
                4 * (3 * E + E + 4 * 3 * K + E + 1),
                3 * (E + 3 * K));
    }

    private static void add(Supplier<KernelBenchmark> made, double bytes, double flops) {
        var benchmark = made.get();
        var name = "%s, %s".formatted(benchmark.getClass().getSimpleName(), benchmark.work());
        ALL.put(name, new Counted(made, bytes, flops));
    }

    private static Supplier<KernelBenchmark> small(Supplier<? extends ActivationBenchmark> made) {
        return () -> {
            var benchmark = made.get();
            benchmark.shape = Shape.V2_LITE;
            benchmark.rows = 3;
            return benchmark;
        };
    }

    private static Supplier<KernelBenchmark> small(Supplier<? extends ProjectionBenchmark> made, QuantFormat format) {
        return () -> {
            var benchmark = made.get();
            benchmark.shape = Shape.V2_LITE;
            benchmark.rows = 3;
            benchmark.format = format;
            return benchmark;
        };
    }

    private static double stored(QuantFormat format, int rows, int columns) {
        return stored(format, rows, columns, rows);
    }

    /** With scales for each block of 128 x 128 of a matrix, or for 32 values of a row. */
    private static double stored(QuantFormat format, int rows, int columns, int rowsOfMatrix) {
        double weights = (double) rows * columns;
        int matrices = rows / rowsOfMatrix;
        return switch (format) {
            case F32 -> 4 * weights;
            case BF16 -> 2 * weights;
            case F8_E4M3_B128 ->
                weights + 4.0 * matrices * Math.ceilDiv(rowsOfMatrix, 128) * Math.ceilDiv(columns, 128);
            case INT8 -> weights + 2 * weights / 32;
            case INT4 -> weights / 2 + 2 * weights / 32;
        };
    }

    static Stream<Arguments> all() {
        return ALL.entrySet().stream().map(entry -> argumentSet(entry.getKey(), entry.getValue()));
    }

    @ParameterizedTest
    @MethodSource("all")
    void bytesAndOperationsAreThoseOfAHandCount(Counted counted) {
        var work = counted.made.get().work();
        assertThat(work.bytes()).isEqualTo(counted.bytes);
        assertThat(work.flops()).isEqualTo(counted.flops);
    }

    /**
     * Threads change no bit of what an instruction set computes; another one changes the order of sums in fp32, but not the
     * exact ones of codes.
     */
    @ParameterizedTest
    @MethodSource("all")
    void everyVariantComputesTheSame(Counted counted) {
        var expected = results(counted, "reference", "");
        var work = counted.made.get().work();
        boolean exact = work.integer() && (work instanceof Gemm || work instanceof GroupedGemm);
        var sets = instructionSets();
        // An embedding of half a gigabyte is not made once more for each.
        if (work.weightBytes() > 100e6) sets = List.of(sets.getLast());
        for (String isa : sets) {
            var one = results(counted, "cpu", "threads=1 isa=" + isa);
            assertThat(results(counted, "cpu", "threads=3 isa=" + isa)).isDeepEqualTo(one);
            assertThat(one).hasSameDimensionsAs(expected);
            for (int i = 0; i < expected.length; i++) {
                double rms = rms(expected[i]);
                assertThat(rms).isPositive();
                for (int j = 0; j < expected[i].length; j++)
                    // Sums of 2048 products in fp32: 1e-5 up to 1024, then with the root.
                    assertThat(one[i][j])
                            .as("%s: value %d of result %d", isa, j, i)
                            .isCloseTo(expected[i][j], within(exact ? 0 : 1.5e-5 * rms));
            }
        }
    }

    private static List<String> instructionSets() {
        var flags = Machine.read().flags();
        var sets = new ArrayList<>(List.of("generic"));
        if (flags.containsAll(Set.of("avx2", "fma", "f16c"))) sets.add("avx2");
        if (flags.containsAll(Set.of("avx512f", "avx512bw", "avx512dq", "avx512vl"))) sets.add("avx512");
        if (sets.contains("avx512") && flags.containsAll(Set.of("avx512_vnni", "avx512vbmi"))) sets.add("avx512vnni");
        return sets;
    }

    private static double[][] results(Counted counted, String backend, String options) {
        var benchmark = counted.made.get();
        benchmark.backend = backend;
        benchmark.options = options;
        benchmark.caches = Caches.HOT;
        benchmark.open();
        try (var arena = Arena.ofConfined()) {
            benchmark.call.launch();
            benchmark.kernels.synchronize();
            return benchmark.call.results().stream()
                    .map(there -> doubles(benchmark.kernels, arena, there))
                    .toArray(double[][]::new);
        } finally {
            benchmark.close();
        }
    }

    private static double[] doubles(Kernels kernels, Arena arena, Tensor there) {
        var flat = there.as(there.size());
        var here = Tensor.allocate(arena, there.dtype, there.size());
        kernels.copy(here, flat);
        var doubles = new double[(int) here.size()];
        for (int i = 0; i < doubles.length; i++)
            doubles[i] = here.dtype == DType.I32 ? here.getInt(i) : here.getFloat(i);
        return doubles;
    }

    /** A method of {@link Kernels} that computes has a benchmark of its name, and that one is tested here. */
    @Test
    void everyFunctionHasItsBenchmark() {
        var rest = Set.of("copy", "synchronize", "close");
        var functions = Arrays.stream(Kernels.class.getDeclaredMethods())
                .filter(method -> method.getReturnType() == void.class && !method.isSynthetic())
                .map(Method::getName)
                .filter(name -> !rest.contains(name))
                .collect(Collectors.toSet());
        var measured = ALL.values().stream()
                .map(counted -> counted.made.get().getClass())
                .flatMap(type -> Arrays.stream(type.getDeclaredMethods())
                        .filter(method -> method.isAnnotationPresent(Benchmark.class))
                        .filter(method -> type.getSimpleName().equalsIgnoreCase(method.getName() + "Benchmark")))
                .map(Method::getName)
                .collect(Collectors.toSet());
        assertThat(measured).isEqualTo(functions);
    }

    /** What others make of the product that the back end makes. */
    @ParameterizedTest
    @EnumSource
    void everyBaselineComputesTheSame(Baseline baseline) {
        baseline.absence().ifPresent(reason -> Assumptions.abort(baseline + ": " + reason));
        var ours = new GemmBenchmark();
        ours.format = QuantFormat.F32;
        var others = new GemmBaselineBenchmark();
        others.baseline = baseline;
        others.options = "threads=2";
        ours.shape = others.shape = Shape.V2_LITE;
        ours.matrix = others.matrix = "kv_a_proj_with_mqa";
        ours.rows = others.rows = 3;
        ours.caches = others.caches = Caches.HOT;
        ours.open();
        others.open();
        try (var arena = Arena.ofConfined()) {
            ours.call.launch();
            others.measureLimits();
            var rates = new Rates();
            others.gemm(rates);
            assertThat(rates.GB * 1e9).isCloseTo(4.0 * ((C + R) * D + 3 * (D + C + R)), within(1e-3));
            assertThat(rates.ofFmaRate / rates.GFLOP).isCloseTo(1e9 / others.fmaRate, within(1e-6));
            double[] expected = doubles(ours.kernels, arena, ours.call.results().getFirst());
            double[] actual =
                    doubles(others.kernels, arena, others.call.results().getFirst());
            double rms = rms(expected);
            for (int i = 0; i < expected.length; i++)
                assertThat(actual[i]).as("value %d", i).isCloseTo(expected[i], within(1.5e-5 * rms));
        } finally {
            others.closeBaseline();
            others.close();
            ours.close();
        }
    }

    private static double rms(double[] values) {
        return Math.sqrt(
                Arrays.stream(values).map(value -> value * value).average().orElseThrow());
    }
}
