package org.panamoe.lab.placement;

import java.util.Arrays;
import java.util.stream.IntStream;

/**
 * Improves a placement one step at a time. The fullest GPU swaps a replica with another GPU, or an expert on it gets the
 * slot of another expert's spare replica; of all such steps that leave every GPU they touch below the old maximum, the
 * one with the lowest is taken, until there is none. It starts from EPLB's placement and from one whose groups are spread
 * over the nodes more evenly, and keeps the better result: never worse than EPLB's. Groups stay within nodes where EPLB
 * keeps them there.
 *
 * <p>Given a placement that is in use, it starts from that alone, and stops once the fullest GPU is within {@code
 * tolerance} of the mean: few experts move.
 */
public final class LocalSearch implements Placer {
    private final double tolerance;

    /** As far as it goes. */
    public LocalSearch() {
        this(0);
    }

    /** @param tolerance when to stop: max over mean of the GPUs' loads, less 1 */
    public LocalSearch(double tolerance) {
        if (!(tolerance >= 0) || Double.isInfinite(tolerance))
            throw new IllegalArgumentException("tolerance: %s is not a finite number from 0".formatted(tolerance));
        this.tolerance = tolerance;
    }

    @Override
    public Placement place(PlacementCase c) {
        var eplb = new Eplb().place(c);
        int[][] phy2log = new int[c.numLayers()][];
        for (int layer = 0; layer < c.numLayers(); layer++) {
            float[] weight_E = c.weight[layer];
            var fromEplb = new Layer(c, weight_E, eplb.phy2log[layer]);
            fromEplb.improve();
            var fromEven = new Layer(c, weight_E, spread(c, weight_E));
            fromEven.improve();
            phy2log[layer] = (fromEven.max() < fromEplb.max() ? fromEven : fromEplb).expert_R;
        }
        return new Placement(c, phy2log);
    }

    @Override
    public Placement place(PlacementCase c, Placement now) {
        int[][] phy2log = new int[c.numLayers()][];
        for (int layer = 0; layer < c.numLayers(); layer++) {
            var searched = new Layer(c, c.weight[layer], now.phy2log[layer]);
            if (!searched.keepsGroups()) return place(c);
            searched.improve();
            phy2log[layer] = searched.expert_R;
        }
        return new Placement(c, phy2log);
    }

    /** EPLB's placement within nodes, after groups were swapped between nodes as long as that evens out their loads. */
    private static int[] spread(PlacementCase c, float[] weight_E) {
        int[][] groupsOfNodes = Eplb.groupsOfNodes(c, weight_E);
        int size = weight_E.length / c.groups();
        double[] load = new double[c.groups()];
        for (int e = 0; e < weight_E.length; e++) load[e / size] += weight_E[e];
        while (swapGroups(groupsOfNodes, load)) {}
        int[] expert_R = new int[c.numReplicas];
        Eplb.place(c, weight_E, groupsOfNodes, expert_R, new int[c.numReplicas]);
        return expert_R;
    }

    /** The swap that most lowers the fuller of its two nodes; false if none does. */
    private static boolean swapGroups(int[][] groupsOfNodes, double[] load) {
        double[] node = Arrays.stream(groupsOfNodes)
                .mapToDouble(groups ->
                        Arrays.stream(groups).mapToDouble(g -> load[g]).sum())
                .toArray();
        int full = argmax(node);
        double best = node[full] * (1 - 1e-12);
        int[] swap = {};
        for (int other = 0; other < node.length; other++)
            for (int i = 0; i < groupsOfNodes[full].length && other != full; i++)
                for (int j = 0; j < groupsOfNodes[other].length; j++) {
                    double shift = load[groupsOfNodes[full][i]] - load[groupsOfNodes[other][j]];
                    double fuller = Math.max(node[full] - shift, node[other] + shift);
                    if (fuller < best) {
                        best = fuller;
                        swap = new int[] {i, other, j};
                    }
                }
        if (swap.length == 0) return false;
        int group = groupsOfNodes[full][swap[0]];
        groupsOfNodes[full][swap[0]] = groupsOfNodes[swap[1]][swap[2]];
        groupsOfNodes[swap[1]][swap[2]] = group;
        return true;
    }

    private static int argmax(double[] values) {
        int best = 0;
        for (int i = 1; i < values.length; i++) if (values[i] > values[best]) best = i;
        return best;
    }

    /** One layer while it is searched. */
    private final class Layer {
        private final PlacementCase c;
        private final float[] weight_E;
        private final int[] expert_R;
        private final int[] count_E;
        private final int[][] slotsOf_E;
        private final double[] load;
        private final int slots;
        private final double target;

        Layer(PlacementCase c, float[] weight_E, int[] expert_R) {
            this.c = c;
            this.weight_E = weight_E;
            this.expert_R = expert_R.clone();
            count_E = new int[weight_E.length];
            slotsOf_E = new int[weight_E.length][];
            for (int e : expert_R) count_E[e]++;
            slots = c.slotsPerGpu();
            load = new double[c.numGpus];
            sum();
            target = Arrays.stream(load).average().orElseThrow() * (1 + tolerance);
        }

        double max() {
            return load[argmax(load)];
        }

        /** Each step lowers the fullest GPU and lifts none to its level, so the search ends. */
        void improve() {
            while (max() > target) {
                int full = argmax(load);
                var step = better(bestSwap(full), bestReplica(full));
                if (step.max >= load[full] * (1 - 1e-12)) return; // what rounding pretends is no step
                int expert = expert_R[step.slot];
                expert_R[step.slot] = step.expert;
                if (step.other < 0) { // a spare replica became another expert's
                    count_E[expert]--;
                    count_E[step.expert]++;
                } else expert_R[step.other] = expert;
                sum();
            }
        }

        /** Anew after each step: differences would drift. */
        private void sum() {
            Arrays.fill(load, 0);
            int[] seen_E = new int[count_E.length];
            for (int e = 0; e < count_E.length; e++) slotsOf_E[e] = new int[count_E[e]];
            for (int slot = 0; slot < expert_R.length; slot++) {
                int e = expert_R[slot];
                load[slot / slots] += share(e);
                slotsOf_E[e][seen_E[e]++] = slot;
            }
        }

        private double share(int expert) {
            return (double) weight_E[expert] / count_E[expert];
        }

        private Step bestSwap(int full) {
            var best = Step.NONE;
            for (int slot = full * slots; slot < (full + 1) * slots; slot++) {
                int mine = expert_R[slot];
                for (int other = firstSlot(full); other < lastSlot(full); other++) {
                    int theirs = expert_R[other], gpu = other / slots;
                    if (gpu == full || share(theirs) >= share(mine)) continue;
                    double shift = share(mine) - share(theirs);
                    double max = Math.max(load[full] - shift, load[gpu] + shift);
                    if (max < best.max && !holds(gpu, mine) && !holds(full, theirs))
                        best = new Step(max, slot, theirs, other);
                }
            }
            return best;
        }

        private Step bestReplica(int full) {
            var best = Step.NONE;
            double[] after = new double[load.length];
            for (int i = full * slots; i < (full + 1) * slots; i++)
                for (int slot = firstSlot(full); slot < lastSlot(full); slot++) {
                    int more = expert_R[i], less = expert_R[slot];
                    if (more == less || count_E[less] == 1 || holds(slot / slots, more)) continue;
                    double max = afterReplica(more, less, slot, after);
                    // An expert without load takes none from the fullest.
                    if (max < best.max && after[full] < load[full]) best = new Step(max, slot, more, -1);
                }
            return best;
        }

        /** The fullest of the GPUs that change if a slot goes from one expert to another. */
        private double afterReplica(int more, int less, int slot, double[] after) {
            for (int other : slotsOf_E[more]) after[other / slots] = load[other / slots];
            for (int other : slotsOf_E[less]) after[other / slots] = load[other / slots];
            double falls = share(more) - (double) weight_E[more] / (count_E[more] + 1);
            double rises = (double) weight_E[less] / (count_E[less] - 1) - share(less);
            for (int other : slotsOf_E[more]) after[other / slots] -= falls;
            for (int other : slotsOf_E[less])
                after[other / slots] += other == slot ? share(more) - falls - share(less) : rises;
            double max = 0;
            for (int expert : new int[] {more, less})
                for (int other : slotsOf_E[expert]) {
                    int gpu = other / slots;
                    if (after[gpu] != load[gpu]) max = Math.max(max, after[gpu]);
                }
            return max;
        }

        private boolean holds(int gpu, int expert) {
            for (int slot = gpu * slots; slot < (gpu + 1) * slots; slot++) if (expert_R[slot] == expert) return true;
            return false;
        }

        private int firstSlot(int gpu) {
            return node(gpu) * (expert_R.length / c.nodes());
        }

        private int lastSlot(int gpu) {
            return (node(gpu) + 1) * (expert_R.length / c.nodes());
        }

        private int node(int gpu) {
            return gpu / (c.numGpus / c.nodes());
        }

        /** Whether all replicas of each group lie in one node. */
        boolean keepsGroups() {
            int[] nodeOf = new int[c.groups()];
            Arrays.fill(nodeOf, -1);
            return IntStream.range(0, expert_R.length).allMatch(slot -> {
                int group = expert_R[slot] / (weight_E.length / c.groups()), node = node(slot / slots);
                if (nodeOf[group] < 0) nodeOf[group] = node;
                return nodeOf[group] == node;
            });
        }
    }

    /**
     * @param max load of the fullest GPU that it touches
     * @param expert that {@code slot} then holds
     * @param other slot that gets the expert of {@code slot}; -1 if none does
     */
    private record Step(double max, int slot, int expert, int other) {
        static final Step NONE = new Step(Double.POSITIVE_INFINITY, -1, -1, -1);
    }

    private static Step better(Step a, Step b) {
        return b.max < a.max ? b : a;
    }
}
