package org.panamoe.lab.placement;

import static org.assertj.core.api.Assertions.assertThat;

import java.io.IOException;
import java.util.Arrays;
import java.util.Random;
import java.util.stream.IntStream;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;
import org.junit.jupiter.params.provider.ValueSource;

class LocalSearchTest {
    static Stream<Golden> golden() throws IOException {
        return Golden.all();
    }

    @ParameterizedTest
    @MethodSource("golden")
    void isNeverWorseThanEplbOnGoldenCases(Golden golden) {
        neverWorse(golden.given());
    }

    @ParameterizedTest
    @ValueSource(longs = {1, 2, 3, 4, 5, 6, 7, 8})
    void isNeverWorseThanEplbOnRandomCases(long seed) {
        neverWorse(random(seed));
    }

    private static void neverWorse(PlacementCase c) {
        double[] eplb = new Eplb().place(c).maxOverMean(c.weight);
        var searched = new LocalSearch().place(c);
        double[] search = searched.maxOverMean(c.weight);
        for (int layer = 0; layer < eplb.length; layer++)
            assertThat(search[layer]).as("%s, layer %d", c.name, layer).isLessThanOrEqualTo(eplb[layer] * (1 + 1e-12));
        check(c, searched);
    }

    /** What EPLB leaves on the table: here two swaps even out what greedy packing cannot. */
    @ParameterizedTest
    @ValueSource(ints = {1, 2})
    void beatsGreedyPacking(int layers) {
        float[][] weight = new float[layers][];
        Arrays.fill(weight, new float[] {5, 4, 3, 3, 3, 0});
        var c = new PlacementCase("lpt", weight, 6, 1, 1, 2);
        assertThat(new Eplb().place(c).maxOverMean(0, weight[0])).isEqualTo(10.0 / 9); // 5 + 3, 4 + 3 + 3
        assertThat(new LocalSearch().place(c).maxOverMean(0, weight[0])).isEqualTo(1);
    }

    /** Many small experts without any load beside one that is hot: the search must end. */
    @Test
    void endsOnHotExperts() {
        float[] weight_E = new float[512];
        weight_E[7] = 1000;
        weight_E[300] = 10;
        neverWorse(new PlacementCase("hot", new float[][] {weight_E, new float[512]}, 1024, 8, 8, 64));
        neverWorse(new PlacementCase("hot, global", new float[][] {weight_E, new float[512]}, 1024, 1, 2, 64));
    }

    /** From a placement in use fewer experts move than if all were placed anew, and it gets better all the same. */
    @ParameterizedTest
    @MethodSource("golden")
    void movesLittle(Golden golden) {
        var c = golden.given();
        var now = new Eplb().place(c);
        float[][] later = new float[c.numLayers()][];
        var random = new Random(20);
        for (int layer = 0; layer < later.length; layer++) {
            later[layer] = c.weight[layer].clone();
            for (int e = 0; e < later[layer].length; e++) later[layer][e] *= 0.5f + random.nextFloat();
        }
        var next = c.with(later);
        var anew = new Eplb().place(next);
        var moved = new LocalSearch(0.05).place(next, now);
        assertThat(moved.movesFrom(now)).isLessThanOrEqualTo(anew.movesFrom(now));
        double[] before = now.maxOverMean(later), after = moved.maxOverMean(later);
        for (int layer = 0; layer < before.length; layer++)
            assertThat(after[layer]).isLessThanOrEqualTo(before[layer]);
        check(next, moved);
    }

    /** Every expert is somewhere, ranks are in order, and a group stays in one node where the policy says so. */
    private static void check(PlacementCase c, Placement placement) {
        for (int layer = 0; layer < c.numLayers(); layer++) {
            assertThat(Arrays.stream(placement.logcnt[layer]).sum()).isEqualTo(c.numReplicas);
            assertThat(placement.logcnt[layer]).doesNotContain(0);
            for (int e = 0; e < c.numExperts(); e++)
                for (int slot : placement.log2phy[layer][e])
                    assertThat(placement.phy2log[layer][slot]).isEqualTo(e);
            if (!c.isHierarchical()) continue;
            int size = c.numExperts() / c.numGroups, slots = c.numReplicas / c.numNodes;
            int[] experts = placement.phy2log[layer];
            for (int group = 0; group < c.numGroups; group++) {
                int g = group;
                assertThat(IntStream.range(0, experts.length)
                                .filter(slot -> experts[slot] / size == g)
                                .map(slot -> slot / slots)
                                .distinct())
                        .as("nodes of group %d", g)
                        .hasSize(1);
            }
        }
    }

    private static PlacementCase random(long seed) {
        var random = new Random(seed);
        int nodes = 1 + random.nextInt(4),
                gpus = nodes * (1 + random.nextInt(4)),
                groups = nodes * (1 + random.nextInt(2));
        int slots = Math.ceilDiv(groups * (1 + random.nextInt(8)), gpus) + random.nextInt(3);
        int E = groups * Math.max(1, gpus * slots / groups - random.nextInt(3));
        float[][] weight = new float[2][E];
        for (float[] weight_E : weight)
            for (int e = 0; e < E; e++) weight_E[e] = (float) Math.exp(2 * random.nextGaussian());
        return new PlacementCase("seed " + seed, weight, gpus * slots, groups, nodes, gpus);
    }
}
