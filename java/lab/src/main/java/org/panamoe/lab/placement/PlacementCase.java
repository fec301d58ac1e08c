package org.panamoe.lab.placement;

/**
 * Loads of experts, and the machines to place them on. Whoever holds a case holds a sound one.
 *
 * <p>The hierarchical policy keeps each group of experts within one node, so that a router which is limited to a few
 * groups sends a token to a few nodes. It applies where the nodes divide the groups; elsewhere groups and nodes do not
 * count.
 */
public final class PlacementCase {
    /** V3 has 256 experts and up to 320 slots. The limits keep log2phy, which is padded, within memory. */
    private static final int MAX_LAYERS = 1 << 12, MAX_REPLICAS = 1 << 12;

    public final String name;

    /** What each logical expert of each layer has to do, by any measure: tokens, for one. Not to be written to. */
    public final float[][] weight;

    public final int numReplicas;
    public final int numGroups;
    public final int numNodes;
    public final int numGpus;

    /** @throws IllegalArgumentException naming the field and both sides */
    public PlacementCase(String name, float[][] weight, int numReplicas, int numGroups, int numNodes, int numGpus) {
        this.name = name;
        this.weight = weight;
        this.numReplicas = numReplicas;
        this.numGroups = numGroups;
        this.numNodes = numNodes;
        this.numGpus = numGpus;
        checkWeight();
        range("num_replicas", numReplicas, 1, MAX_REPLICAS);
        range("num_groups", numGroups, 1, numExperts());
        range("num_nodes", numNodes, 1, numReplicas);
        range("num_gpus", numGpus, 1, numReplicas);
        check(
                numReplicas >= numExperts(),
                "num_replicas: %d, but %d experts need a slot each",
                numReplicas,
                numExperts());
        divides("num_gpus", numGpus, "num_replicas", numReplicas);
        if (!isHierarchical()) return;
        divides("num_groups", numGroups, "the experts", numExperts());
        divides("num_nodes", numNodes, "num_gpus", numGpus);
    }

    public int numLayers() {
        return weight.length;
    }

    public int numExperts() {
        return weight[0].length;
    }

    /** Slots of one GPU. */
    public int slotsPerGpu() {
        return numReplicas / numGpus;
    }

    /** Whether a group of experts stays within a node. */
    public boolean isHierarchical() {
        return numGroups % numNodes == 0;
    }

    /** Nodes as the policy counts them: 1 where it is global. */
    int nodes() {
        return isHierarchical() ? numNodes : 1;
    }

    /** Groups as the policy counts them: 1 where it is global. */
    int groups() {
        return isHierarchical() ? numGroups : 1;
    }

    /** The same machines for other loads. */
    public PlacementCase with(float[][] weight) {
        return new PlacementCase(name, weight, numReplicas, numGroups, numNodes, numGpus);
    }

    private void checkWeight() {
        check(weight.length > 0 && weight[0].length > 0, "weight: %s", weight.length == 0 ? "no layers" : "no experts");
        range("weight: layers", weight.length, 1, MAX_LAYERS);
        for (int layer = 0; layer < weight.length; layer++) {
            check(
                    weight[layer].length == numExperts(),
                    "weight[%d]: %d experts, but weight[0] has %d",
                    layer,
                    weight[layer].length,
                    numExperts());
            float sum = 0;
            for (int e = 0; e < numExperts(); e++) {
                float w = weight[layer][e];
                check(w >= 0 && Float.isFinite(w), "weight[%d][%d]: %s is not a finite number from 0", layer, e, w);
                sum += w;
            }
            check(Float.isFinite(sum), "weight[%d]: adds up to more than 32 bits can hold", layer);
        }
    }

    private static void divides(String divisor, int d, String dividend, int n) {
        check(n % d == 0, "%s: %d does not divide %s %d", divisor, d, dividend, n);
    }

    private static void range(String field, int value, int min, int max) {
        check(min <= value && value <= max, "%s: %d is not in [%d, %d]", field, value, min, max);
    }

    private static void check(boolean right, String problem, Object... about) {
        if (!right) throw new IllegalArgumentException(problem.formatted(about));
    }
}
