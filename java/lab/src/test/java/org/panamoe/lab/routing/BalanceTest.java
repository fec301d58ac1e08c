package org.panamoe.lab.routing;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.within;

import java.util.Arrays;
import java.util.SplittableRandom;
import org.junit.jupiter.api.Test;

class BalanceTest {
    private static final double EXACT = 1e-12;

    @Test
    void byHand() {
        var balance = Balance.of(new long[] {6, 2, 0, 0});
        assertThat(balance.maxVio()).isEqualTo(2);
        assertThat(balance.minVio()).isEqualTo(1);
        assertThat(balance.cv()).isCloseTo(Math.sqrt(6) / 2, within(EXACT)); // squares 16, 0, 4, 4: variance 6
        assertThat(balance.entropy())
                .isCloseTo(-(0.75 * Math.log(0.75) + 0.25 * Math.log(0.25)) / Math.log(4), within(EXACT));
        assertThat(balance.gini()).isCloseTo(2 * (4 + 6 + 6 + 2 + 2) / (2 * 16 * 2.0), within(EXACT));
        assertThat(balance.dead()).isEqualTo(2);
        assertThat(balance.top5Share()).isEqualTo(0.75);
    }

    @Test
    void perfectBalance() {
        var balance = Balance.of(new long[] {5, 5, 5});
        assertThat(balance).isEqualTo(new Balance(0, 0, 0, balance.entropy(), 0, 0, 1.0 / 3));
        assertThat(balance.entropy()).isCloseTo(1, within(EXACT));
    }

    @Test
    void giniIsItsDefinition() {
        var random = new SplittableRandom(1);
        for (int round = 0; round < 50; round++) {
            long[] count_E = random.longs(1 + random.nextInt(40), 0, 100).toArray();
            count_E[0]++;
            double sum = 0, mean = Arrays.stream(count_E).average().orElseThrow();
            for (long a : count_E) for (long b : count_E) sum += Math.abs(a - b);
            assertThat(Balance.of(count_E).gini())
                    .isCloseTo(sum / (2 * Math.pow(count_E.length, 2) * mean), within(1e-9));
        }
    }

    @Test
    void nothingIsNoLoad() {
        assertThatThrownBy(() -> Balance.of(new long[3])).hasMessageContaining("3 experts with 0 rows");
        assertThatThrownBy(() -> Balance.of(new long[0])).hasMessageContaining("0 experts");
    }

    @Test
    void aCurveKeepsItsMeans() {
        var curve = new Curve();
        for (int i = 0; i < 100_000; i++) curve.add(i);
        assertThat(curve.stride()).isEqualTo(128);
        assertThat(curve.points()).hasSize(Math.ceilDiv(100_000, 128));
        for (int i = 0; i < 781; i++) assertThat(curve.points()[i]).isEqualTo(i * 128 + 63.5);
        assertThat(curve.points()[781]).isEqualTo((781 * 128 + 99_999) / 2.0);
    }

    /** Two ranks on two nodes with two experts each; tokens 0 and 1 are the first computation batch. */
    @Test
    void whatLayersAreMeasuredBy() {
        var rule = Trace.rule(4, 2, 1, 1);
        var batch = Batch.ofChoices(4, 4, 2);
        batch.T = 4;
        System.arraycopy(new int[] {0, 1, 0, 2, 0, 3, 2, 3}, 0, batch.expert_TK, 0, 8);
        var choices = new Choices(rule);
        choices.takeRecorded(batch);
        var measurement = new Measurement(rule, new Geometry(2, 2, 128, 4), 2);
        measurement.observe(batch, choices, null, true);
        var of = measurement.outcome(new float[0]).metrics;
        assertThat(of.get(Metric.MAX_VIO_GLOBAL)).isEqualTo(0.5); // 3, 1, 2, 2
        assertThat(of.get(Metric.MAX_VIO_BATCH)).isEqualTo(0.5);
        assertThat(of.get(Metric.MAX_VIO_COMPUTATION)).isEqualTo(1); // 2, 1, 1, 0 and 1, 0, 1, 2
        assertThat(of.get(Metric.NODES_PER_TOKEN)).isEqualTo(1.5); // 1, 2, 2, 1
        assertThat(of.get(Metric.INTER_NODE_BYTES)).isEqualTo(1.5 / 2 * (128 + 4 + 256));
        assertThat(of.get(Metric.MAX_OVER_MEAN)).isEqualTo(1.5); // 3, 1 and 1, 3
        assertThat(of.get(Metric.BALANCEDNESS)).isCloseTo(2 / 3.0, within(EXACT));
        // Padded to fours: 8, 4 and 4, 8 rows; 16 rows of padding to 8 that are computed.
        assertThat(of.get(Metric.STRAGGLER)).isCloseTo(4 / 3.0, within(EXACT));
        assertThat(of.get(Metric.PADDED_ROWS)).isEqualTo(2);
        assertThat(of.get(Metric.DROPPED_SLOTS)).isZero();
        assertThat(of).doesNotContainKeys(Metric.SCORE_KEPT, Metric.AGREEMENT);
    }

    @Test
    void whatBalancingCostsInScore() {
        var rule = Trace.rule(4, 1, 1, 1);
        var batch = Batch.ofScores(2, 4, 1);
        batch.T = 2;
        System.arraycopy(new float[] {0.5f, 0.25f, 0, 0, 0.5f, 0, 0, 0}, 0, batch.score_TE, 0, 8);
        Choices best = new Choices(rule), choices = new Choices(rule);
        best.takeBest(batch);
        choices.takeBest(batch, new float[] {0, 0.3f, 0, 0});
        var measurement = new Measurement(rule, new Geometry(1, 1, 128, 1), 2);
        measurement.observe(batch, choices, best, true);
        var of = measurement.outcome(new float[0]).metrics;
        assertThat(of.get(Metric.SCORE_KEPT)).isEqualTo(0.75);
        assertThat(of.get(Metric.SCORE_REGRET)).isEqualTo(0.25);
        assertThat(of.get(Metric.AGREEMENT)).isEqualTo(0.5);
    }

    @Test
    void slotsThatVanishAreNoticed() {
        var rule = Trace.rule(4, 2, 1, 1);
        var batch = Scores.random(1, 8, 4, 2);
        var choices = new Choices(rule);
        choices.takeBest(batch);
        choices.drop(1);
        var measurement = new Measurement(rule, new Geometry(1, 1, 128, 1), 8);
        assertThatThrownBy(() -> measurement.observe(batch, choices, null, true))
                .isInstanceOf(IllegalStateException.class)
                .hasMessageContaining("16 rows, 1 dropped");
    }
}
