package org.panamoe.lab.routing;

import com.google.common.collect.ImmutableList;
import com.google.common.collect.ImmutableSortedMap;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.Callable;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;

/**
 * Plays a trace to a method, layer by layer: scores are frozen, only what the method learns evolves. So it shows the
 * balance and what it costs in score, and nothing about a model's loss.
 *
 * @param batch tokens after which a method learns
 * @param computationBatch tokens that are computed at once
 * @param epochs how often the trace is played; only the last time is measured
 * @param warmUp batches, from the very first one on, that are not measured
 */
public record Replay(Trace trace, Geometry geometry, int batch, int computationBatch, int epochs, int warmUp) {
    public Replay {
        if (batch < 1 || computationBatch < 1 || computationBatch > batch || epochs < 1 || warmUp < 0)
            throw new IllegalArgumentException("batches of %d, computed %d at once, %d epochs, warm-up %d: do not fit"
                    .formatted(batch, computationBatch, epochs, warmUp));
        geometry.check(trace.rule().experts());
    }

    /** One method with one seed; layers in parallel, which changes no result. */
    public Outcome run(MethodSpec spec, long seed, int threads) {
        var tasks = new ArrayList<Callable<LayerOutcome>>();
        for (int layer : trace.layers()) tasks.add(() -> play(spec, seed, layer));
        var outcomes = all(tasks, threads);
        var layers = ImmutableSortedMap.<Integer, LayerOutcome>naturalOrder();
        for (int i = 0; i < outcomes.size(); i++) layers.put(trace.layers().get(i), outcomes.get(i));
        return new Outcome(spec, seed, layers.build());
    }

    private LayerOutcome play(MethodSpec spec, long seed, int layer) {
        var rule = trace.rule();
        var balancer = Methods.make(spec, rule, trace.bias(layer));
        boolean scored = balancer.needsScores();
        if (scored && !trace.hasScores())
            throw new IllegalArgumentException(
                    "%s has expert ids only, and %s needs the scores of all experts (panamoe trace --scores)"
                            .formatted(trace.name(), spec));
        if (!scored && !trace.hasChoices())
            throw new IllegalArgumentException(
                    "%s has scores only: nothing that %s could repeat".formatted(trace.name(), spec));
        var tokens = scored
                ? Batch.ofScores(batch, rule.experts(), rule.chosen())
                : Batch.ofChoices(batch, rule.experts(), rule.chosen());
        var choices = new Choices(rule);
        var unbiased = scored ? new Choices(rule) : null;
        var measurement = new Measurement(rule, geometry, computationBatch);
        long step = 0, measured = 0;
        for (int epoch = 0; epoch < epochs; epoch++) {
            // Each epoch in another order, but the recorded order stays.
            try (var reader = trace.read(layer, seed == 0 ? 0 : seed + 1_000_003L * epoch)) {
                for (; reader.next(tokens); step++) {
                    balancer.route(tokens, choices);
                    boolean counts = epoch == epochs - 1 && step >= warmUp;
                    if (counts && unbiased != null) unbiased.takeBest(tokens);
                    measurement.observe(tokens, choices, counts ? unbiased : null, counts);
                    if (counts) measured++;
                    balancer.learn(tokens, choices);
                }
            }
        }
        if (measured == 0)
            throw new IllegalArgumentException(
                    "%s: layer %d has %d batches, all of them warm-up (%d): nothing to measure"
                            .formatted(trace.name(), layer, step, warmUp));
        return measurement.outcome(balancer.bias());
    }

    /** Results in the order of the tasks, whoever was first. The first failure in that order is thrown. */
    static <T> List<T> all(List<? extends Callable<T>> tasks, int threads) {
        try (var pool = Executors.newFixedThreadPool(threads)) {
            var futures = new ArrayList<Future<T>>();
            for (var task : tasks) futures.add(pool.submit(task));
            var results = ImmutableList.<T>builder();
            try {
                for (var future : futures) results.add(future.get());
            } catch (ExecutionException e) {
                pool.shutdownNow();
                if (e.getCause() instanceof RuntimeException cause) throw cause;
                if (e.getCause() instanceof Error cause) throw cause;
                throw new IllegalStateException(e.getCause());
            } catch (InterruptedException e) {
                pool.shutdownNow();
                Thread.currentThread().interrupt();
                throw new IllegalStateException("interrupted", e);
            }
            return results.build();
        }
    }
}
