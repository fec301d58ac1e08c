package org.panamoe.lab.placement;

/**
 * Placing experts anew every so often, as a server does: what was measured lately is taken for what comes.
 *
 * @param interval steps from one placement to the next
 * @param window steps before it whose loads are added up for it
 */
public record Rebalancing(Placer placer, int interval, int window) {
    /** What is told of each step. */
    @FunctionalInterface
    public interface Watcher {
        /** @param moves experts' weights that GPUs fetched before this step */
        void step(int step, Placement placement, long moves);
    }

    public Rebalancing {
        if (interval < 1) throw new IllegalArgumentException("interval: %d is not above 0".formatted(interval));
        if (window < 1) throw new IllegalArgumentException("window: %d is not above 0".formatted(window));
    }

    /** @param machines whose weights do not matter */
    public void run(LoadHistory history, PlacementCase machines, Watcher watcher) {
        var placement = Placement.initial(machines);
        for (int step = 0; step < history.steps(); step++) {
            long moves = 0;
            if (step > 0 && step % interval == 0) {
                var next = placer.place(machines.with(history.sum(Math.max(0, step - window), step)), placement);
                moves = next.movesFrom(placement);
                placement = next;
            }
            watcher.step(step, placement, moves);
        }
    }
}
