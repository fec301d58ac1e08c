package org.panamoe.lab.placement;

import java.util.Arrays;
import java.util.Comparator;
import java.util.stream.IntStream;

/**
 * DeepSeek's expert parallelism load balancer (EPLB, {@code rebalance_experts}), number by number: groups of experts are
 * packed into nodes, busy experts replicated within each node, replicas packed into its GPUs. Arithmetic is in 32 bits
 * and in EPLB's order.
 *
 * <p>Of equal loads the lower index comes first. EPLB itself sorts with an unstable sort, and replicas of one expert
 * always tie, so it may put the same replicas into other slots; loads of GPUs are the same.
 */
public final class Eplb implements Placer {
    /** It has no parameters. */
    public Eplb() {}

    @Override
    public Placement place(PlacementCase c) {
        int[][] phy2log = new int[c.numLayers()][c.numReplicas], rank = new int[c.numLayers()][c.numReplicas];
        for (int layer = 0; layer < c.numLayers(); layer++)
            place(c, c.weight[layer], groupsOfNodes(c, c.weight[layer]), phy2log[layer], rank[layer]);
        return new Placement(c, phy2log, rank);
    }

    /** Which groups each node takes, in the order of their places there. */
    static int[][] groupsOfNodes(PlacementCase c, float[] weight_E) {
        int size = weight_E.length / c.groups();
        float[] load = new float[c.groups()];
        for (int e = 0; e < weight_E.length; e++) load[e / size] += weight_E[e];
        return pack(load, c.nodes());
    }

    /** One layer, with the groups already packed into nodes. */
    static void place(PlacementCase c, float[] weight_E, int[][] groupsOfNodes, int[] phy2log, int[] rank) {
        int size = weight_E.length / c.groups(), slotsPerNode = c.numReplicas / c.nodes();
        for (int node = 0; node < c.nodes(); node++) {
            int[] experts = Arrays.stream(groupsOfNodes[node])
                    .flatMap(group -> IntStream.range(group * size, (group + 1) * size))
                    .toArray();
            float[] load = new float[experts.length];
            for (int i = 0; i < experts.length; i++) load[i] = weight_E[experts[i]];
            var replicas = replicate(load, slotsPerNode);
            float[] share = new float[slotsPerNode];
            for (int i = 0; i < slotsPerNode; i++) share[i] = load[replicas.of[i]] / replicas.count[replicas.of[i]];
            int slot = node * slotsPerNode;
            for (int[] gpu : pack(share, c.numGpus / c.nodes()))
                for (int i : gpu) {
                    phy2log[slot] = experts[replicas.of[i]];
                    rank[slot++] = replicas.rank[i];
                }
        }
    }

    /** Items for each of n packs of equal size: the heaviest item first, each into the lightest pack that has room. */
    private static int[][] pack(float[] weight, int n) {
        int room = weight.length / n;
        int[][] packs = new int[n][room];
        if (room == 1) { // each its own, without sorting
            for (int i = 0; i < n; i++) packs[i][0] = i;
            return packs;
        }
        float[] load = new float[n];
        int[] filled = new int[n];
        int[] heaviestFirst = IntStream.range(0, weight.length)
                .boxed()
                .sorted(Comparator.comparingDouble(i -> 0 - weight[i]))
                .mapToInt(Integer::intValue)
                .toArray();
        for (int i : heaviestFirst) {
            int lightest = -1;
            for (int p = 0; p < n; p++)
                if (filled[p] < room && (lightest < 0 || load[p] < load[lightest])) lightest = p;
            packs[lightest][filled[lightest]++] = i;
            load[lightest] += weight[i];
        }
        return packs;
    }

    /** Each expert once, then again and again the one whose replicas have most to do. */
    private static Replicas replicate(float[] load, int slots) {
        int E = load.length;
        int[] of = new int[slots], rank = new int[slots], count = new int[E];
        Arrays.fill(count, 1);
        for (int slot = 0; slot < slots; slot++) {
            int busiest = slot;
            if (slot >= E) {
                busiest = 0;
                for (int e = 1; e < E; e++) if (load[e] / count[e] > load[busiest] / count[busiest]) busiest = e;
                rank[slot] = count[busiest]++;
            }
            of[slot] = busiest;
        }
        return new Replicas(of, rank, count);
    }

    private static final class Replicas {
        final int[] of, rank, count;

        Replicas(int[] of, int[] rank, int[] count) {
            this.of = of;
            this.rank = rank;
            this.count = count;
        }
    }
}
