package org.panamoe.benchmarks;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.data.Offset.offset;

import java.lang.foreign.Arena;
import java.util.Arrays;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.Arguments;
import org.junit.jupiter.params.provider.MethodSource;

class RouteBenchmarkTest {
    static Stream<Arguments> backendsAndRules() {
        return Host.backends()
                .flatMap(backend ->
                        Arrays.stream(RouteBenchmark.Rule.values()).map(rule -> Arguments.of(backend, rule)));
    }

    @ParameterizedTest
    @MethodSource("backendsAndRules")
    void whatIsMeasuredIsTheRule(String backend, RouteBenchmark.Rule rule) {
        var benchmark = benchmark(Host.present(backend), rule, 5);
        try (var arena = Arena.ofConfined()) {
            benchmark.route(new Rates());
            var host = new Host(benchmark.kernels, arena);
            int E = benchmark.topK.experts(), K = benchmark.topK.chosen();
            float[] score_TE = host.floats(benchmark.score_TE), bias_E = host.floats(benchmark.bias_E);
            int[] expert_TK = host.ints(benchmark.routes.expert_TK()), expert_K = new int[K];
            float[] share_TK = host.floats(benchmark.routes.share_TK()), share_K = new float[K];
            for (int t = 0; t < 5; t++) {
                benchmark.topK.choose(Arrays.copyOfRange(score_TE, t * E, (t + 1) * E), bias_E, expert_K, share_K);
                assertThat(Arrays.copyOfRange(expert_TK, t * K, (t + 1) * K)).isEqualTo(expert_K);
                assertThat(Arrays.copyOfRange(share_TK, t * K, (t + 1) * K)).isEqualTo(share_K);
            }
            int[] offset_E1 = host.ints(benchmark.routes.offset_E1()), token_N = host.ints(benchmark.routes.token_N());
            for (int e = 0; e < E; e++)
                for (int n = offset_E1[e]; n < offset_E1[e + 1]; n++)
                    assertThat(Arrays.copyOfRange(expert_TK, token_N[n] * K, (token_N[n] + 1) * K))
                            .contains(e);
            assertThat(offset_E1[E]).isEqualTo(5 * K);
        } finally {
            benchmark.close();
        }
    }

    @Test
    void ratesCountScoresAndRoutesOnce() {
        var benchmark = benchmark("cpu", RouteBenchmark.Rule.V3, 5);
        try {
            benchmark.measureLimits();
            var rates = new Rates();
            benchmark.route(rates);
            // Scores and bias; experts, shares, tokens and weights; offsets.
            assertThat(rates.GB * 1e9).isCloseTo(4.0 * (5 * 256 + 256 + 4 * 5 * 8 + 257), offset(1e-3));
            assertThat(rates.GFLOP * 1e9).isCloseTo(5.0 * (256 + 3 * 8), offset(1e-3));
            assertThat(rates.ofBandwidth / rates.GB).isCloseTo(1e9 / benchmark.bandwidth, offset(1e-6));
        } finally {
            benchmark.close();
        }
    }

    private static RouteBenchmark benchmark(String backend, RouteBenchmark.Rule rule, int tokens) {
        var benchmark = new RouteBenchmark();
        benchmark.backend = backend;
        benchmark.rule = rule;
        benchmark.tokens = tokens;
        benchmark.open();
        return benchmark;
    }
}
