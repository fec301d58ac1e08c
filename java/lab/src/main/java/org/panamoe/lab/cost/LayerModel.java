package org.panamoe.lab.cost;

import org.panamoe.checkpoint.ModelConfig;
import org.panamoe.lab.placement.Placement;
import org.panamoe.lab.placement.PlacementCase;

/**
 * The time of one MoE layer under expert parallelism: dispatch, grouped GEMM, combine, and what the slowest GPU makes the
 * others wait. A row is one token at one expert; replicas of an expert share its rows evenly.
 *
 * <p>An expert with n rows takes max(ceil(n / tile) tile 6 h m / (efficiency peak), 3 h m / memory) + launch seconds, and
 * none without rows; a GPU takes the sum over its experts. A row weighs h + 4 h / 128 bytes when it is dispatched (FP8 and
 * its scales) and 2 h when it comes back (BF16). A token goes to {@code nodesPerToken} nodes; which of them is its own is
 * taken to be chance.
 *
 * @param hidden width of the model (h)
 * @param inner width of an expert (m)
 * @param chosen experts of a token
 * @param nodesPerToken nodes that a token is sent to at most
 * @param efficiency share of the FP8 peak that the GEMM reaches
 * @param tile rows that a GEMM pads to
 * @param launch seconds that each expert takes beside its arithmetic
 * @param latency seconds that a message takes beside its bytes
 * @param attention seconds of the layer's attention and shared expert
 * @param overlap seconds of the layer during which two of its parts run at once
 */
public record LayerModel(
        Gpu gpu,
        int hidden,
        int inner,
        int chosen,
        int nodesPerToken,
        double efficiency,
        int tile,
        double launch,
        double latency,
        double attention,
        double overlap) {
    /** DeepGEMM's README (327ec92): 1346 TFLOP/s of an H800's 1978.9 in a grouped GEMM of 4 x 8192 rows, 4096 x 7168. */
    public static final double DEEPGEMM_EFFICIENCY = 0.68;

    public static final int TILE = 128;

    public LayerModel {
        positive("hidden", hidden);
        positive("inner", inner);
        positive("chosen", chosen);
        positive("nodesPerToken", nodesPerToken);
        positive("tile", tile);
        if (!(efficiency > 0 && efficiency <= 1))
            throw new IllegalArgumentException("efficiency: %s is not in (0, 1]".formatted(efficiency));
        seconds("launch", launch);
        seconds("latency", latency);
        seconds("attention", attention);
        seconds("overlap", overlap);
    }

    /** The experts of a model, on a GPU, with DeepGEMM's efficiency, and without what else a layer does. */
    public static LayerModel of(ModelConfig c, Gpu gpu) {
        if (c.nRoutedExperts() == 0) throw new IllegalArgumentException(c.modelType() + ": the model has no experts");
        return new LayerModel(
                gpu,
                c.hiddenSize(),
                c.moeIntermediateSize(),
                c.numExpertsPerTok(),
                Math.min(c.topkGroup(), c.numExpertsPerTok()),
                DEEPGEMM_EFFICIENCY,
                TILE,
                0,
                0,
                0,
                0);
    }

    /**
     * What a layer takes.
     *
     * @param gemm seconds of the GPU whose GEMM is slowest
     * @param gemmMean seconds of the GEMM, the mean over GPUs
     * @param layer seconds of the whole layer
     * @param wasted GPU-seconds in which GPUs wait for the slowest GEMM
     */
    public record LayerTime(
            double gemm, double gemmMean, double dispatch, double combine, double layer, double wasted) {
        /** How much longer the slowest takes than the mean. */
        public double straggler() {
            return gemmMean == 0 ? 1 : gemm / gemmMean;
        }
    }

    /** Bytes of one expert's weights in FP8. */
    public double expertBytes() {
        return 3.0 * hidden * inner;
    }

    /** Seconds of an expert with so many rows. */
    public double expertSeconds(double rows) {
        if (rows == 0) return 0;
        double padded = Math.ceil(rows / tile) * tile;
        double arithmetic = padded * 6 * hidden * inner / (efficiency * gpu.fp8Flops());
        return Math.max(arithmetic, expertBytes() / gpu.memory()) + launch;
    }

    /**
     * The time of a layer whose experts have these rows.
     *
     * @param scale by which the rows are multiplied: what larger or smaller steps of the same kind would take
     */
    public LayerTime time(PlacementCase machines, Placement placement, int layer, float[] rows_E, double scale) {
        int D = machines.numGpus, slots = machines.slotsPerGpu();
        double[] gemm = new double[D], rows = new double[D];
        for (int slot = 0; slot < placement.phy2log[layer].length; slot++) {
            int e = placement.phy2log[layer][slot];
            double n = scale * rows_E[e] / placement.logcnt[layer][e];
            gemm[slot / slots] += expertSeconds(n);
            rows[slot / slots] += n;
        }
        double slowest = 0, sum = 0, all = 0, fullest = 0;
        for (int d = 0; d < D; d++) {
            slowest = Math.max(slowest, gemm[d]);
            sum += gemm[d];
            all += rows[d];
            fullest = Math.max(fullest, rows[d]);
        }
        double fullestNode = 0;
        int gpusPerNode = Math.ceilDiv(D, machines.numNodes);
        for (int first = 0; first < D; first += gpusPerNode) {
            double node = 0;
            for (int d = first; d < Math.min(D, first + gpusPerNode); d++) node += rows[d];
            fullestNode = Math.max(fullestNode, node);
        }
        double bytes = hidden + 4.0 * hidden / 128;
        // What arrives at the fullest GPU and node, for dispatch; the same leaves there for combine. Within a node a
        // token
        // goes on by NVLink, unless it came in where it stays.
        double withinNode = fullest * (gpusPerNode - 1) / gpusPerNode;
        double copies = Math.min(nodesPerToken, machines.numNodes) / (double) chosen;
        double acrossNodes = fullestNode * copies * (machines.numNodes - 1) / machines.numNodes / gpusPerNode;
        double dispatch = Math.max(withinNode * bytes / gpu.nvlink(), acrossNodes * bytes / gpu.network()) + latency;
        double combine =
                Math.max(withinNode * 2 * hidden / gpu.nvlink(), acrossNodes * 2 * hidden / gpu.network()) + latency;
        if (all == 0) return new LayerTime(0, 0, 0, 0, attention, 0);
        double layerSeconds = Math.max(0, attention + dispatch + slowest + combine - overlap);
        return new LayerTime(slowest, sum / D, dispatch, combine, layerSeconds, slowest * D - sum);
    }

    private static void positive(String what, int value) {
        if (value < 1) throw new IllegalArgumentException("%s: %d is not above 0".formatted(what, value));
    }

    private static void seconds(String what, double value) {
        if (!(value >= 0) || Double.isInfinite(value))
            throw new IllegalArgumentException(
                    "%s: %s is not a finite number of seconds from 0".formatted(what, value));
    }
}
