package org.panamoe.engine;

import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import org.panamoe.model.LatentCache;

/**
 * Says which rows the next step computes: what is certain and not yet in the cache, then the drafts. Where rows are too
 * few for all, those come first that have waited longest.
 */
final class Scheduler {
    private final LatentCache cache;
    private final int maxRows;
    /** In the order in which they will be served. */
    private final List<Generation> running = new ArrayList<>();

    private final Turn turn = new Turn();

    /** @param maxRows the most rows of a step; a longer prompt takes several */
    Scheduler(LatentCache cache, int maxRows) {
        this.cache = cache;
        this.maxRows = maxRows;
    }

    void add(Generation generation) {
        running.add(generation);
    }

    /** The next step, valid until the one after it. */
    Turn next() {
        releaseEnded();
        turn.clear();
        var batch = turn.batch;
        int behind = running.size();
        for (var g : running) {
            behind--;
            int from = batch.T(), held = g.slot.length();
            int certain = Math.min(g.count() - held, maxRows - from);
            if (certain == 0) break;
            boolean whole = held + certain == g.count();
            // One row is kept for each generation behind: drafts must not hold up what is certain.
            int drafts = whole ? Math.clamp(maxRows - from - certain - behind, 0, g.draftCount()) : 0;
            for (int i = 0; i < certain; i++) batch.row(g.token(held + i), held + i);
            for (int j = 0; j < drafts; j++) batch.row(g.draft(j), held + certain + j);
            batch.span(g.slot, whole ? 1 + drafts : 0, g.request.prompt.length);
            turn.generations.add(g);
        }
        return turn;
    }

    void commit(Turn turn, Accepted accepted) {
        for (int a = 0; a < accepted.count.length; a++) {
            int sampled = turn.batch.span(a).sampled();
            if (sampled > 0) turn.generations.get(a).append(sampled - 1, accepted.count[a], accepted.next[a]);
        }
        // Those just served wait behind the others. What a row gives does not depend on its place, so no text does.
        Collections.rotate(running, -turn.generations.size());
        releaseEnded();
    }

    void cancelAll() {
        running.forEach(Generation::cancel);
    }

    /** Gives back the room of those that have ended. */
    void releaseEnded() {
        running.removeIf(g -> {
            boolean ended = g.status() != Generation.Status.RUNNING;
            if (ended) cache.release(g.slot);
            return ended;
        });
    }
}
