package org.panamoe.lab.routing;

import com.google.common.collect.EvictingQueue;
import com.google.common.collect.ImmutableSortedMap;
import java.util.TreeMap;
import org.panamoe.model.Observer;

/**
 * Counts what a running model routes, without looking at scores: give it to {@code Model.observe}. It knows the loads since
 * it began, and those of the last steps, which is what a placement is made from.
 */
public final class LiveLoads implements Observer {
    private final int experts;
    private final int window;
    private final TreeMap<Integer, Layer> layers = new TreeMap<>();

    private static final class Layer {
        final long[] all_E;
        final long[] recent_E;
        final EvictingQueue<int[]> steps;
        long tokens;

        Layer(int experts, int window) {
            all_E = new long[experts];
            recent_E = new long[experts];
            steps = EvictingQueue.create(window);
        }
    }

    /** @param window steps that count as recent */
    public LiveLoads(int experts, int window) {
        if (experts < 1 || window < 1)
            throw new IllegalArgumentException("%d experts, a window of %d steps".formatted(experts, window));
        this.experts = experts;
        this.window = window;
    }

    @Override
    public void routed(int layer, int T, float[] score_TE, int[] expert_TK, float[] share_TK) {
        var seen = layers.computeIfAbsent(layer, number -> new Layer(experts, window));
        var oldest = seen.steps.remainingCapacity() == 0 ? seen.steps.poll() : null;
        if (oldest != null) for (int e : oldest) seen.recent_E[e]--;
        int[] step = expert_TK.clone();
        for (int e : step) {
            seen.all_E[e]++;
            seen.recent_E[e]++;
        }
        seen.steps.add(step);
        seen.tokens += T;
    }

    /** Since this began to look on. */
    public Loads all() {
        return loads("live", true);
    }

    /** Of the last steps. */
    public Loads recent() {
        return loads("live, the last %d steps".formatted(window), false);
    }

    /** Tokens that a layer has routed. */
    public long tokens(int layer) {
        var seen = layers.get(layer);
        return seen == null ? 0 : seen.tokens;
    }

    private Loads loads(String name, boolean all) {
        var loads = ImmutableSortedMap.<Integer, long[]>naturalOrder();
        layers.forEach((layer, seen) -> loads.put(layer, (all ? seen.all_E : seen.recent_E).clone()));
        return new Loads(name, loads.build());
    }
}
