package org.panamoe.lab.routing;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.within;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import com.google.common.math.Stats;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

class ReplayTest {
    private static final Path TINY =
            Path.of(System.getProperty("panamoe.root"), "..", "shared", "traces", "tiny-v3-router-scores.safetensors");

    private static Outcome play(String input, String method, long seed, int threads) {
        try (var trace = SyntheticTrace.parse(input)) {
            return new Replay(trace, Comparison.geometry(trace, 0, 0), 512, 256, 1, 0)
                    .run(MethodSpec.parse(method), seed, threads);
        }
    }

    @ParameterizedTest
    @ValueSource(strings = {"none", "sign:rate=0.01", "quantile", "bip", "expert-choice", "capacity"})
    void threadsChangeNothing(String method) {
        String input = "synthetic:layers=5,tokens=4096,experts=16,chosen=2,drift=0.5,bursts=0.1,shift=0.5";
        Outcome one = play(input, method, 3, 1), four = play(input, method, 3, 4);
        for (int layer : one.layers().keySet()) {
            assertThat(four.layer(layer).metrics).isEqualTo(one.layer(layer).metrics);
            assertThat(four.layer(layer).count_E).isEqualTo(one.layer(layer).count_E);
            assertThat(four.layer(layer).bias_E).isEqualTo(one.layer(layer).bias_E);
            assertThat(four.layer(layer).maxVio.points())
                    .isEqualTo(one.layer(layer).maxVio.points());
        }
        assertThat(play(input, method, 4, 2).layer(0).metrics).isNotEqualTo(one.layer(0).metrics);
    }

    /** No expert is liked more than another: what is left is chance, 5 deviations of a binomial count at most. */
    @ParameterizedTest
    @ValueSource(
            strings = {"none", "sign:rate=0.001", "proportional:rate=0.001", "quantile", "bip", "batch-aux-simulated"})
    void aUniformStreamStaysBalanced(String method) {
        String uniform = "synthetic:layers=2,tokens=32768,experts=16,chosen=4,skew=0,topic=0,token=0,noise=1";
        double mean = 32768 * 4 / 16.0, deviation = Math.sqrt(mean * (1 - 4 / 16.0)) / mean;
        var outcome = play(uniform, method, 1, 2);
        assertThat(outcome.mean(Metric.MAX_VIO_GLOBAL)).hasValueCloseTo(0.0, within(5 * deviation));
        assertThat(outcome.mean(Metric.MIN_VIO)).hasValueCloseTo(0.0, within(5 * deviation));
        assertThat(outcome.mean(Metric.SCORE_KEPT)).hasValueCloseTo(1.0, within(0.01));
    }

    @Test
    void whatIsMeasuredIsTheLastEpochAfterWarmUp() {
        try (var trace = SyntheticTrace.parse("synthetic:layers=1,tokens=1000,experts=8,chosen=2")) {
            var geometry = Comparison.geometry(trace, 0, 0);
            var spec = MethodSpec.parse("none");
            assertThat(new Replay(trace, geometry, 300, 300, 2, 0)
                            .run(spec, 1, 1)
                            .layer(0)
                            .tokens)
                    .isEqualTo(1000);
            assertThat(new Replay(trace, geometry, 300, 300, 1, 3)
                            .run(spec, 1, 1)
                            .layer(0)
                            .tokens)
                    .isEqualTo(100);
            assertThatThrownBy(() -> new Replay(trace, geometry, 300, 300, 1, 4).run(spec, 1, 1))
                    .isInstanceOf(IllegalArgumentException.class)
                    .hasMessageContaining("has 4 batches, all of them warm-up");
            assertThatThrownBy(() -> new Replay(trace, geometry, 300, 301, 1, 4))
                    .hasMessageContaining("do not fit");
            assertThatThrownBy(() -> new Replay(trace, Comparison.geometry(trace, 3, 0), 300, 300, 1, 4))
                    .hasMessageContaining("8 experts cannot be spread over 3 ranks");
            assertThatThrownBy(() ->
                            new Replay(trace, geometry, 300, 300, 1, 0).run(MethodSpec.parse("as-recorded"), 0, 1))
                    .hasMessageContaining("has scores only");
        }
    }

    @Test
    void expertsLieOnARankForEachGroupUnlessSaidOtherwise() {
        try (var trace = SyntheticTrace.parse("synthetic:experts=12,chosen=2,groups=4,kept=2")) {
            assertThat(Comparison.geometry(trace, 0, 0)).isEqualTo(new Geometry(4, 4, 7168, 128));
            assertThat(Comparison.geometry(trace, 12, 0)).isEqualTo(new Geometry(12, 4, 7168, 128));
            assertThat(Comparison.geometry(trace, 6, 0)).isEqualTo(new Geometry(6, 1, 7168, 128));
            assertThat(Comparison.geometry(trace, 6, 3)).isEqualTo(new Geometry(6, 3, 7168, 128));
            var free = Input.regroup(trace, "1/1");
            assertThat(Comparison.geometry(free, 0, 0)).isEqualTo(new Geometry(6, 1, 7168, 128));
            assertThatThrownBy(() -> Comparison.geometry(free, 6, 4)).hasMessageContaining("6 ranks on 4 nodes");
        }
    }

    @Test
    void liveLoadsAreThoseOfTheLastSteps() {
        var live = new LiveLoads(4, 2);
        float[] none = {};
        live.routed(1, 2, none, new int[] {0, 1, 0, 2}, none);
        live.routed(1, 1, none, new int[] {3, 0}, none);
        live.routed(1, 1, none, new int[] {3, 2}, none);
        assertThat(live.all().layers().get(1)).containsExactly(3, 1, 2, 2);
        assertThat(live.recent().layers().get(1)).containsExactly(1, 0, 1, 2);
        assertThat(live.tokens(1)).isEqualTo(4);
        assertThat(live.tokens(2)).isZero();
    }

    private static List<Outcome> overSeeds(Trace trace, String method) {
        var replay = new Replay(trace, Comparison.geometry(trace, 0, 0), 2048, 2048, 3, 0);
        return Stream.of(1, 2, 3)
                .map(seed -> replay.run(MethodSpec.parse(method), seed, 2))
                .toList();
    }

    private static double mean(List<Outcome> outcomes, Metric metric) {
        return Stats.meanOf(outcomes.stream()
                .mapToDouble(outcome -> outcome.mean(metric).orElseThrow())
                .toArray());
    }

    /**
     * The published shape: too slow, right, oscillating. The numbers are those of another program on the same trace, which
     * took its windows in other orders; that moves them by less than is allowed here.
     */
    @ParameterizedTest
    @CsvSource({
        "none,                   0.960, 0.02",
        "sign:rate=0.0001,       0.912, 0.02",
        "sign:rate=0.001,        0.558, 0.03",
        "sign:rate=0.01,         0.190, 0.03",
        "sign:rate=0.05,         0.434, 0.06",
        "proportional:rate=0.01, 0.151, 0.02",
        "bip,                    0.204, 0.02",
        "quantile,               0.267, 0.03",
    })
    void ratesAreTooSlowRightAndOscillating(String method, double maxVio, double within) {
        assumeTrue(Files.exists(TINY), TINY + ": the recorded scores of tiny-v3 are not here");
        try (var trace = Input.of(TINY.toString()).open(Input.Sizes.UNKNOWN)) {
            var outcomes = overSeeds(trace, method);
            assertThat(mean(outcomes, Metric.MAX_VIO_BATCH)).isCloseTo(maxVio, within(within));
            assertThat(mean(outcomes, Metric.NODES_PER_TOKEN)).isLessThanOrEqualTo(2);
            if (method.equals("sign:rate=0.01")) {
                // 0.947 without a bias.
                assertThat(mean(outcomes, Metric.MAX_VIO_GLOBAL)).isLessThan(0.0947);
                assertThat(mean(outcomes, Metric.SCORE_KEPT)).isCloseTo(0.965, within(0.005));
            }
        }
    }
}
