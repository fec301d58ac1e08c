package org.panamoe.lab.cost;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import org.jspecify.annotations.Nullable;
import org.panamoe.lab.placement.LoadHistory;
import org.panamoe.lab.placement.Placement;
import org.panamoe.lab.placement.PlacementCase;
import org.panamoe.lab.placement.Rebalancing;

/**
 * Would placing experts by their load help? What the recorded loads would have cost with experts where engines put them
 * at first, and what with placements made from the loads before: counted from the first such placement on.
 *
 * @param maxOverMean of the GPUs' rows without it, the mean over layers and steps
 * @param persistence of the loads from one interval to the next; NaN if there are not two
 * @param predictedMaxOverMean with it
 * @param movesPerInterval experts' weights that GPUs fetch for a new placement
 * @param sizes steps of other sizes but the same kind, ascending; the recorded size is among them
 * @param recorded the one that was recorded
 * @param tooShort whether the record ends before the first placement: then what is predicted is the step it was made from
 */
public record Outlook(
        double maxOverMean,
        double persistence,
        double predictedMaxOverMean,
        double movesPerInterval,
        List<Size> sizes,
        Size recorded,
        boolean tooShort) {
    /**
     * All MoE layers of one step. Money is NaN where the GPU has no price.
     *
     * @param tokens of a step, over all GPUs
     * @param seconds without it
     * @param predictedSeconds with it, without moving
     * @param movingSeconds of moving experts, spread over the interval
     * @param wastedShare GPU time spent waiting for the slowest GEMM, of all, without it
     * @param dollarsPerMillion gained with each million tokens
     */
    public record Size(
            double tokens,
            double seconds,
            double predictedSeconds,
            double movingSeconds,
            double wastedShare,
            double dollarsPerMillion) {
        /** Seconds gained in each step; below 0 it does harm. */
        public double gain() {
            return seconds - predictedSeconds - movingSeconds;
        }

        /** With what it takes to move experts, which all GPUs fetch at once over the network. */
        private Size moving(double moves, int interval, PlacementCase machines, LayerModel model) {
            double fetching =
                    moves / machines.numGpus * model.expertBytes() / model.gpu().network();
            double gain = seconds - predictedSeconds - fetching / interval;
            double dollars = gain / 3600 * machines.numGpus * model.gpu().dollarsPerHour() * 1e6 / tokens;
            return new Size(tokens, seconds, predictedSeconds, fetching / interval, wastedShare, dollars);
        }
    }

    public Outlook {
        sizes = List.copyOf(sizes);
    }

    /** The smallest size from which on it pays at every larger one that was looked at; null if at none. */
    public @Nullable Size paysFrom() {
        Size from = null;
        for (var size : sizes.reversed()) {
            if (size.gain() <= 0) break;
            from = size;
        }
        return from;
    }

    /** @param machines whose weights do not matter */
    public static Outlook of(LoadHistory history, PlacementCase machines, Rebalancing rule, LayerModel model) {
        var initial = Placement.initial(machines);
        var placements = new ArrayList<Placement>();
        long[] moves = {0};
        rule.run(history, machines, (step, placement, moved) -> {
            placements.add(placement);
            moves[0] += moved;
        });
        int first = rule.interval(), intervals = (history.steps() - 1) / rule.interval();
        boolean tooShort = first >= history.steps();
        if (tooShort) {
            var last = rule.placer().place(machines.with(history.sum(0, history.steps())), initial);
            placements.replaceAll(before -> last);
            moves[0] = last.movesFrom(initial);
            first = 0;
            intervals = 1;
        }
        double before = 0, after = 0;
        for (int step = first; step < history.steps(); step++) {
            float[][] count = history.count[step];
            before += Arrays.stream(initial.maxOverMean(count)).average().orElseThrow();
            after += Arrays.stream(placements.get(step).maxOverMean(count))
                    .average()
                    .orElseThrow();
        }
        int steps = history.steps() - first;
        double movesPerInterval = (double) moves[0] / intervals;
        double rows = 0;
        for (float n : history.count[0][0]) rows += n;
        double tokens = rows / model.chosen();
        var sizes = new ArrayList<Size>();
        Size recorded = null;
        for (int power = -16; power <= 16; power++) {
            double perGpu = tokens * Math.pow(2, power) / machines.numGpus;
            if (power != 0 && (perGpu < 0.5 || perGpu > 65536)) continue;
            var size = size(history.count, machines, model, initial, placements, first, Math.pow(2, power));
            size = size.moving(movesPerInterval, rule.interval(), machines, model);
            if (power == 0) recorded = size;
            sizes.add(size);
        }
        if (recorded == null) throw new AssertionError("0 is a power");
        return new Outlook(
                before / steps,
                history.persistence(rule.interval()),
                after / steps,
                movesPerInterval,
                sizes,
                recorded,
                tooShort);
    }

    private static Size size(
            float[][][] count,
            PlacementCase machines,
            LayerModel model,
            Placement initial,
            List<Placement> placements,
            int first,
            double scale) {
        double seconds = 0, predicted = 0, wasted = 0, rows = 0;
        for (int step = first; step < count.length; step++)
            for (int layer = 0; layer < count[step].length; layer++) {
                float[] rows_E = count[step][layer];
                var without = model.time(machines, initial, layer, rows_E, scale);
                seconds += without.layer();
                wasted += without.wasted();
                predicted += model.time(machines, placements.get(step), layer, rows_E, scale)
                        .layer();
                for (float n : rows_E) rows += n;
            }
        int steps = count.length - first;
        return new Size(
                rows * scale / model.chosen() / steps / count[0].length,
                seconds / steps,
                predicted / steps,
                0,
                wasted / (seconds * machines.numGpus),
                0);
    }
}
