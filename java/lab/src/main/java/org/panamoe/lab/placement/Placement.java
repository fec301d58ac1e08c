package org.panamoe.lab.placement;

import java.util.Arrays;
import java.util.BitSet;

/** Which slot holds which expert, for each layer. */
public final class Placement {
    /** The logical expert of each slot. Not to be written to, as all of these. */
    public final int[][] phy2log;

    /** The slots of each logical expert, by rank of the replica; each expert has one at least. */
    public final int[][][] log2phy;

    /** How many slots each logical expert has. */
    public final int[][] logcnt;

    private final int numGpus;

    /** @param rank of each slot's replica among those of the same expert: 0 to logcnt - 1, each once */
    Placement(PlacementCase of, int[][] phy2log, int[][] rank) {
        this.phy2log = phy2log;
        int L = phy2log.length, E = of.numExperts();
        numGpus = of.numGpus;
        logcnt = new int[L][E];
        log2phy = new int[L][E][];
        for (int layer = 0; layer < L; layer++) {
            for (int e : phy2log[layer]) logcnt[layer][e]++;
            for (int e = 0; e < E; e++) {
                assert logcnt[layer][e] > 0 : "layer " + layer + ": expert " + e + " is nowhere";
                log2phy[layer][e] = new int[logcnt[layer][e]];
            }
            for (int slot = 0; slot < of.numReplicas; slot++)
                log2phy[layer][phy2log[layer][slot]][rank[layer][slot]] = slot;
        }
    }

    /** Replicas of an expert ranked by their slots. */
    Placement(PlacementCase of, int[][] phy2log) {
        this(of, phy2log, ranks(phy2log, of.numExperts()));
    }

    /** How engines start, before they have seen any load: expert i in slot i, then once more from the first. */
    public static Placement initial(PlacementCase c) {
        int[] slots = new int[c.numReplicas];
        for (int slot = 0; slot < slots.length; slot++) slots[slot] = slot % c.numExperts();
        int[][] phy2log = new int[c.numLayers()][];
        Arrays.setAll(phy2log, layer -> slots.clone());
        return new Placement(c, phy2log);
    }

    private static int[][] ranks(int[][] phy2log, int E) {
        int[][] rank = new int[phy2log.length][];
        for (int layer = 0; layer < phy2log.length; layer++) {
            int[] seen_E = new int[E];
            rank[layer] = Arrays.stream(phy2log[layer]).map(e -> seen_E[e]++).toArray();
        }
        return rank;
    }

    /** How many GPUs the slots lie on. */
    public int numGpus() {
        return numGpus;
    }

    /** What each GPU has to do in a layer, if replicas share the load of their expert evenly. */
    public double[] gpuLoad(int layer, float[] weight_E) {
        double[] load = new double[numGpus];
        int slots = phy2log[layer].length / numGpus;
        for (int slot = 0; slot < phy2log[layer].length; slot++) {
            int e = phy2log[layer][slot];
            load[slot / slots] += (double) weight_E[e] / logcnt[layer][e];
        }
        return load;
    }

    /** Load of the fullest GPU over the mean: 1 is perfect. Without any load it is 1. */
    public double maxOverMean(int layer, float[] weight_E) {
        double[] load = gpuLoad(layer, weight_E);
        double sum = Arrays.stream(load).sum();
        return sum == 0 ? 1 : Arrays.stream(load).max().orElseThrow() * numGpus / sum;
    }

    /** {@link #maxOverMean(int, float[])} of each layer. */
    public double[] maxOverMean(float[][] weight) {
        double[] all = new double[weight.length];
        Arrays.setAll(all, layer -> maxOverMean(layer, weight[layer]));
        return all;
    }

    /**
     * How many experts' weights GPUs must fetch to come here from another placement of the same case. The order of slots
     * within a GPU is free, and so is a second replica on a GPU that has one.
     */
    public long movesFrom(Placement before) {
        long moves = 0;
        for (int layer = 0; layer < phy2log.length; layer++)
            for (int gpu = 0; gpu < numGpus; gpu++) {
                BitSet needed = expertsOf(layer, gpu);
                needed.andNot(before.expertsOf(layer, gpu));
                moves += needed.cardinality();
            }
        return moves;
    }

    /** The experts that a GPU holds in a layer. */
    public BitSet expertsOf(int layer, int gpu) {
        var experts = new BitSet();
        int slots = phy2log[layer].length / numGpus;
        for (int slot = gpu * slots; slot < (gpu + 1) * slots; slot++) experts.set(phy2log[layer][slot]);
        return experts;
    }
}
