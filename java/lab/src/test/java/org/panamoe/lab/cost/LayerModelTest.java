package org.panamoe.lab.cost;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.within;

import java.util.Arrays;
import org.junit.jupiter.api.Test;
import org.panamoe.lab.placement.Eplb;
import org.panamoe.lab.placement.LoadHistory;
import org.panamoe.lab.placement.Placement;
import org.panamoe.lab.placement.PlacementCase;
import org.panamoe.lab.placement.Rebalancing;

class LayerModelTest {
    private static final LayerModel V3 = LayerModel.of(DeepSeekV3.CONFIG, Gpu.H800);

    /** Worked out by hand: 44.0 MB of weights, 88.1 MFLOP a row. */
    @Test
    void anExpertReadsItsWeightsOrComputes() {
        assertThat(V3.expertBytes()).isEqualTo(44_040_192);
        assertThat(V3.expertSeconds(0)).isZero();
        assertThat(V3.expertSeconds(1))
                .isEqualTo(44_040_192 / 3.35e12); // 128 rows compute in 8.4 us, reading takes 13.1
        assertThat(V3.expertSeconds(1000)).isCloseTo(1024 * 88_080_384.0 / (0.68 * 1978.9e12), within(1e-12));
        assertThat(V3.expertSeconds(1001)).isEqualTo(V3.expertSeconds(1024));
    }

    /** Two GPUs of one node, one expert each: the other waits; with more nodes the network is what counts. */
    @Test
    void theSlowestDecides() {
        float[] rows_E = {1280, 128 * 5};
        var machines = new PlacementCase("two", new float[][] {rows_E}, 2, 1, 1, 2);
        var time = V3.time(machines, Placement.initial(machines), 0, rows_E, 1);
        assertThat(time.straggler()).isCloseTo(1280 / 960.0, within(1e-9));
        assertThat(time.wasted()).isCloseTo(time.gemm() / 2, within(1e-12));
        assertThat(time.dispatch()).isCloseTo(1280 / 2.0 * 7392 / 160e9, within(1e-12));
        assertThat(time.combine()).isCloseTo(1280 / 2.0 * 14336 / 160e9, within(1e-12));
        assertThat(time.layer()).isCloseTo(time.gemm() + time.dispatch() + time.combine(), within(1e-12));
        var apart = new PlacementCase("apart", new float[][] {rows_E}, 2, 2, 2, 2);
        var across = V3.time(apart, Placement.initial(apart), 0, rows_E, 1);
        // Two of a token's eight rows leave for another node, half of them for their own.
        assertThat(across.dispatch()).isCloseTo(1280 * (2 / 8.0) / 2 * 7392 / 50e9, within(1e-12));
    }

    /** Even loads lose nothing; the more uneven, the more. */
    @Test
    void imbalanceCosts() {
        double last = 0;
        for (float skew : new float[] {1, 2, 4, 8}) {
            float[] rows_E = new float[16];
            Arrays.fill(rows_E, 4096);
            rows_E[0] *= skew;
            var machines = new PlacementCase("skew", new float[][] {rows_E}, 16, 1, 1, 8);
            var time = V3.time(machines, Placement.initial(machines), 0, rows_E, 1);
            if (skew == 1) assertThat(time.wasted()).isCloseTo(0, within(1e-12));
            assertThat(time.layer()).isGreaterThan(last);
            last = time.layer();
        }
    }

    /** Loads that last are worth placing for; the same loads in small steps are not: weights are read all the same. */
    @Test
    void lastingSkewIsWorthIt() {
        float[][] count = new float[1][32];
        for (int e = 0; e < 32; e++) count[0][e] = (e < 4 ? 20 : 1) * 2048;
        var machines = new PlacementCase("lasting", count, 40, 1, 1, 8);
        var history = LoadHistory.of(count);
        var outlook = Outlook.of(history, machines, new Rebalancing(new Eplb(), 100, 100), V3);
        assertThat(outlook.tooShort()).isTrue();
        assertThat(outlook.persistence()).isNaN();
        assertThat(outlook.predictedMaxOverMean()).isLessThan(outlook.maxOverMean());
        assertThat(outlook.recorded().gain()).isPositive();
        assertThat(outlook.recorded().dollarsPerMillion()).isPositive();
        assertThat(outlook.recorded().tokens()).isEqualTo((4 * 20 + 28) * 2048 / 8.0);
        assertThat(outlook.sizes().getFirst().gain()).isNegative();
        var from = outlook.paysFrom();
        assertThat(from).isNotNull();
        if (from != null)
            assertThat(from.tokens()).isLessThan(outlook.recorded().tokens());
    }

    /** Nothing to gain where all experts are equally busy. */
    @Test
    void evenLoadsAreNot() {
        float[][] count = new float[1][32];
        Arrays.fill(count[0], 4096);
        var machines = new PlacementCase("even", count, 32, 1, 1, 8);
        var outlook = Outlook.of(LoadHistory.of(count), machines, new Rebalancing(new Eplb(), 1, 1), V3);
        assertThat(outlook.maxOverMean()).isEqualTo(1);
        assertThat(outlook.recorded().gain()).isNotPositive();
        assertThat(outlook.paysFrom()).isNull();
    }
}
