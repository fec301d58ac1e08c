package org.panamoe.lab.routing;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.within;

import java.util.Arrays;
import java.util.Optional;
import java.util.stream.IntStream;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.MethodSource;
import org.panamoe.backend.GroupLimitedTopK;

class MethodsTest {
    private static final int T = 128, E = 16, K = 4, STEPS = 6;
    private static final GroupLimitedTopK FREE = Trace.rule(E, K, 1, 1);
    private static final GroupLimitedTopK LIMITED = Trace.rule(E, K, 4, 2);

    static Stream<String> choosing() {
        return Stream.of(
                "none",
                "recorded-bias",
                "sign:rate=0.02",
                "sign:rate=0.02,recentre=true",
                "proportional:rate=0.05",
                "quantile",
                "quantile:ema=0.5",
                "bip",
                "sequence-aux-simulated",
                "batch-aux-simulated",
                "capacity",
                "capacity:drop=score,factor=1");
    }

    static Stream<String> all() {
        return Stream.concat(choosing(), Stream.of("expert-choice"));
    }

    /** Without the one whose bias is tied to names. */
    static Stream<String> nameless() {
        return all().filter(method -> !method.equals("recorded-bias"));
    }

    private static Balancer make(String method, GroupLimitedTopK rule) {
        float[] bias_E = new float[E];
        for (int e = 0; e < E; e++) bias_E[e] = 0.01f * e;
        return Methods.make(MethodSpec.parse(method), rule, Optional.of(bias_E));
    }

    @ParameterizedTest
    @MethodSource("all")
    void everySlotIsComputedOrDropped(String method) {
        var balancer = make(method, FREE);
        var choices = new Choices(FREE);
        for (int step = 0; step < STEPS; step++) {
            var batch = Scores.random(step, T, E, K);
            balancer.route(batch, choices);
            assertThat(choices.tokens()).isEqualTo(T);
            assertThat(choices.size() + choices.dropped()).isEqualTo(T * K);
            assertThat(Arrays.stream(choices.count()).sum()).isEqualTo(choices.size());
            for (int t = 0; t < T; t++) {
                var experts = IntStream.range(choices.offset(t), choices.offset(t + 1))
                        .map(choices::expert)
                        .toArray();
                assertThat(experts).doesNotHaveDuplicates();
                assertThat(Arrays.stream(experts)).allMatch(e -> e >= 0 && e < E);
            }
            balancer.learn(batch, choices);
        }
    }

    @ParameterizedTest
    @MethodSource("choosing")
    void aTokenKeepsToItsGroups(String method) {
        var balancer = make(method, LIMITED);
        var choices = new Choices(LIMITED);
        for (int step = 0; step < STEPS; step++) {
            var batch = Scores.random(step, T, E, K);
            balancer.route(batch, choices);
            for (int t = 0; t < T; t++)
                assertThat(IntStream.range(choices.offset(t), choices.offset(t + 1))
                                .map(n -> choices.expert(n) / (E / 4))
                                .distinct()
                                .count())
                        .isLessThanOrEqualTo(2);
            balancer.learn(batch, choices);
        }
    }

    /** Names mean nothing: whole groups change places, and experts within them. */
    @ParameterizedTest
    @MethodSource("nameless")
    void otherNamesGiveTheSameLoads(String method) {
        var rule = method.equals("expert-choice") ? FREE : LIMITED;
        int[] name_E = new int[E];
        for (int e = 0; e < E; e++) name_E[e] = (3 - e / 4) * 4 + (e % 4 + 1) % 4;
        Balancer balancer = make(method, rule), renamed = make(method, rule);
        Choices choices = new Choices(rule), others = new Choices(rule);
        for (int step = 0; step < STEPS; step++) {
            var batch = Scores.random(step, T, E, K);
            var other = Scores.renamed(batch, name_E);
            balancer.route(batch, choices);
            renamed.route(other, others);
            long[] expected_E = new long[E], count_E = choices.count();
            for (int e = 0; e < E; e++) expected_E[name_E[e]] = count_E[e];
            assertThat(others.count()).as("step %d", step).isEqualTo(expected_E);
            balancer.learn(batch, choices);
            renamed.learn(other, others);
        }
    }

    /** Over 40 batches of another size than they end with. */
    @ParameterizedTest
    @CsvSource({
        "sign:rate=0.02, 0.4",
        "'sign:rate=0.02,recentre=true', 0.4",
        "proportional:rate=0.05, 0.3",
        "quantile, 0.3",
        "bip, 0.2",
        "batch-aux-simulated:rate=3, 0.6",
        "sequence-aux-simulated:rate=3, 0.6",
        "expert-choice, 0",
    })
    void whatBalancesBalances(String method, double most) {
        var batch = Scores.random(1, 2048, E, K);
        var choices = new Choices(FREE);
        make("none", FREE).route(batch, choices);
        double unbalanced = Balance.maxVio(choices.count());
        var balancer = make(method, FREE);
        for (int step = 0; step < 40; step++) {
            var seen = Scores.random(step, 512, E, K);
            balancer.route(seen, choices);
            balancer.learn(seen, choices);
        }
        balancer.route(batch, choices);
        assertThat(unbalanced).isGreaterThan(1);
        assertThat(Balance.maxVio(choices.count())).isLessThanOrEqualTo(most);
    }

    @Test
    void theSignRuleByHand() {
        // Counts 3, 1, 0, 0 of one expert each for four tokens, mean 1: down, still, up, up.
        var rule = Trace.rule(4, 1, 1, 1);
        var batch = Batch.ofScores(4, 4, 1);
        batch.T = 4;
        for (int t = 0; t < 4; t++) batch.score_TE[t * 4 + (t == 3 ? 1 : 0)] = 0.5f;
        var choices = new Choices(rule);
        var plain = Methods.make(MethodSpec.parse("sign:rate=0.1"), rule, Optional.empty());
        plain.route(batch, choices);
        assertThat(choices.count()).containsExactly(3, 1, 0, 0);
        plain.learn(batch, choices);
        assertThat(plain.bias()).containsExactly(-0.1f, 0, 0.1f, 0.1f);
        var centred = Methods.make(MethodSpec.parse("sign:rate=0.1,recentre=true"), rule, Optional.empty());
        centred.learn(batch, choices);
        assertThat(centred.bias()).containsExactly(-0.125f, -0.025f, 0.075f, 0.075f);
        var proportional = Methods.make(MethodSpec.parse("proportional:rate=0.1"), rule, Optional.empty());
        proportional.learn(batch, choices);
        assertThat(proportional.bias()).containsExactly(-0.2f, 0, 0.1f, 0.1f);
    }

    /** The share K / E of the tokens has r below the new bias, but for its common offset; the histogram is exact to a bin. */
    @Test
    void theQuantileIsOne() {
        var batch = Scores.random(3, 4096, E, K);
        var choices = new Choices(FREE);
        var balancer = make("quantile:bins=20000", FREE);
        balancer.route(batch, choices);
        balancer.learn(batch, choices);
        double[] exact_E = new double[E];
        float[] row_E = new float[E];
        for (int e = 0; e < E; e++) {
            double[] r_T = new double[batch.T];
            for (int t = 0; t < batch.T; t++) {
                System.arraycopy(batch.score_TE, t * E, row_E, 0, E);
                Arrays.sort(row_E);
                r_T[t] = row_E[E - 1 - K] - batch.score_TE[t * E + e];
            }
            Arrays.sort(r_T);
            exact_E[e] = r_T[batch.T * K / E];
        }
        double mean = Arrays.stream(exact_E).average().orElseThrow();
        float[] bias_E = balancer.bias();
        for (int e = 0; e < E; e++) assertThat((double) bias_E[e]).isCloseTo(exact_E[e] - mean, within(2e-3));
    }

    /** By finite differences of the loss, f held constant. */
    @ParameterizedTest
    @CsvSource({"true", "false"})
    void theSimulatedGradientIsExact(boolean bySequence) {
        var batch = Scores.random(5, 64, E, K);
        var spec = MethodSpec.parse("x:rate=1");
        var balancer = new SimulatedAuxLoss(FREE, new Parameters(spec), bySequence);
        var choices = new Choices(FREE);
        balancer.route(batch, choices);
        balancer.learn(batch, choices);
        double h = 1e-5;
        for (int e = 0; e < E; e++) {
            double slope = (loss(batch, choices, bySequence, e, h) - loss(batch, choices, bySequence, e, -h)) / (2 * h);
            // Scores pass through float: 6e-8 of a gradient of some 1e-2.
            assertThat(balancer.offsets()[e]).isCloseTo(-E * slope, within(1e-5));
        }
    }

    private static double loss(Batch batch, Choices choices, boolean bySequence, int moved, double by) {
        int length = bySequence ? batch.window : batch.T;
        double loss = 0;
        for (int from = 0; from < batch.T; from += length) {
            long[] count_E = new long[E];
            choices.count(from, from + length, count_E);
            for (int t = from; t < from + length; t++) {
                double[] score_E = new double[E];
                double sum = 0;
                for (int e = 0; e < E; e++) {
                    double s = batch.score_TE[t * E + e];
                    double logit = Math.log(s / (1 - s)) + (e == moved ? by : 0);
                    score_E[e] = 1 / (1 + Math.exp(-logit));
                    sum += score_E[e];
                }
                for (int e = 0; e < E; e++) loss += (double) E / (K * length) * count_E[e] * score_E[e] / sum / batch.T;
            }
        }
        return loss;
    }

    @Test
    void expertsChooseTheTokensThatWantThemMost() {
        // Normed over a token's experts: token 0 wants expert 0 by 0.9, token 1 by 0.6, token 2 by 0.5, token 3 by 0.1.
        var rule = Trace.rule(2, 1, 1, 1);
        var batch = Batch.ofScores(4, 2, 1);
        batch.T = 4;
        float[] scores = {0.9f, 0.1f, 0.3f, 0.2f, 0.5f, 0.5f, 0.1f, 0.9f};
        System.arraycopy(scores, 0, batch.score_TE, 0, scores.length);
        var choices = new Choices(rule);
        Methods.make(MethodSpec.parse("expert-choice"), rule, Optional.empty()).route(batch, choices);
        int[] perToken = IntStream.range(0, 4)
                .map(t -> choices.offset(t + 1) - choices.offset(t))
                .toArray();
        assertThat(perToken).containsExactly(1, 1, 1, 1);
        assertThat(IntStream.range(0, 4).map(choices::expert)).containsExactly(0, 0, 1, 1);
    }

    @Test
    void capacityDropsTheLastOrTheLowest() {
        // All four tokens want expert 0; it computes ceil(4 * 1 / 2 * 1) = 2 of them.
        var rule = Trace.rule(2, 1, 1, 1);
        var batch = Batch.ofScores(4, 2, 1);
        batch.T = 4;
        float[] scores = {0.6f, 0, 0.9f, 0, 0.7f, 0, 0.8f, 0};
        System.arraycopy(scores, 0, batch.score_TE, 0, scores.length);
        assertThat(kept("capacity:factor=1", rule, batch)).containsExactly(1, 1, 0, 0);
        assertThat(kept("capacity:factor=1,drop=score", rule, batch)).containsExactly(0, 1, 0, 1);
        assertThat(kept("capacity:factor=2", rule, batch)).containsExactly(1, 1, 1, 1);
        assertThat(kept("capacity:factor=0,drop=score", rule, batch)).containsExactly(0, 0, 0, 0);
    }

    private static int[] kept(String method, GroupLimitedTopK rule, Batch batch) {
        var choices = new Choices(rule);
        Methods.make(MethodSpec.parse(method), rule, Optional.empty()).route(batch, choices);
        return IntStream.range(0, batch.T)
                .map(t -> choices.offset(t + 1) - choices.offset(t))
                .toArray();
    }

    @ParameterizedTest
    @CsvSource(delimiter = '|', textBlock = """
            magic                  | magic: there is none of this name
            sign:rate=fast         | rate is fast, not a number
            sign:rate=-1           | rate is -1, not a number from 0
            sign:rate=NaN          | rate is NaN
            sign:speed=1           | has no speed; it has
            sign:rate              | 'rate' is not key=value
            sign:rate=1,rate=2     | rate is given twice
            none:rate=1            | has no rate; it has no parameters
            bip:iterations=0       | iterations is 0, not an integer from 1
            bip:iterations=1.5     | iterations is 1.5
            quantile:ema=1         | ema is 1.0, not below 1
            capacity:drop=all      | drop is all, not position or score
            expert-choice          | a token may use 2 of 4 groups only
            """)
    void badMethodsAreNamed(String method, String problem) {
        assertThatThrownBy(() -> make(method, LIMITED))
                .isInstanceOf(IllegalArgumentException.class)
                .hasMessageContaining(problem);
    }

    @Test
    void aBiasThatWasNotRecordedIsMissed() {
        assertThatThrownBy(() -> Methods.make(MethodSpec.parse("recorded-bias"), FREE, Optional.empty()))
                .hasMessage("recorded-bias: the trace has no bias");
        var everybody = Trace.rule(4, 4, 1, 1);
        for (String method : new String[] {"quantile", "bip"})
            assertThatThrownBy(() -> Methods.make(MethodSpec.parse(method), everybody, Optional.empty()))
                    .hasMessageContaining("all experts are chosen");
    }
}
