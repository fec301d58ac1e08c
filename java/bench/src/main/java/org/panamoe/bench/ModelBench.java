package org.panamoe.bench;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.BitSet;
import java.util.List;
import java.util.OptionalDouble;
import java.util.SplittableRandom;
import org.jspecify.annotations.Nullable;
import org.panamoe.backend.Backend;
import org.panamoe.backend.Kernels;
import org.panamoe.checkpoint.Checkpoint;
import org.panamoe.checkpoint.Footprint;
import org.panamoe.model.Batch;
import org.panamoe.model.LatentCache;
import org.panamoe.model.Model;
import org.panamoe.model.Observer;

/** One model on one back end, doing one kind of work step by step. */
public final class ModelBench implements AutoCloseable {
    /** Rows of a prompt that one forward pass takes. */
    static final int CHUNK = 512;

    /**
     * One step.
     *
     * @param seconds by the wall
     * @param cpuSeconds of all threads
     * @param experts chosen ones of all layers, each counted once
     */
    public record Step(double seconds, double cpuSeconds, long experts) {}

    private final Kernels kernels;
    private final @Nullable TimedKernels timed;
    private final Model model;
    private final Footprint footprint;
    private final Touched touched = new Touched();
    private final Batch batch = new Batch();
    private @Nullable Work work;
    private @Nullable LatentCache cache;
    private List<LatentCache.Slot> slots = List.of();
    private int[] tokens = {};

    /** Which experts a step reads. */
    private static final class Touched implements Observer {
        private final List<BitSet> layers = new ArrayList<>();

        @Override
        public void routed(int layer, int T, float[] score_TE, int[] expert_TK, float[] share_TK) {
            while (layers.size() <= layer) layers.add(new BitSet());
            for (int e : expert_TK) layers.get(layer).set(e);
        }

        long take() {
            long all = layers.stream().mapToLong(BitSet::cardinality).sum();
            layers.forEach(BitSet::clear);
            return all;
        }
    }

    /**
     * @param checkpoint must outlive this
     * @param profile whether calls of kernels are timed, see {@link #tell}
     */
    public ModelBench(Checkpoint checkpoint, String backend, String options, boolean profile) {
        var opened = Backend.require(backend, options);
        timed = profile ? new TimedKernels(opened) : null;
        kernels = timed == null ? opened : timed;
        try {
            footprint = Footprint.of(checkpoint);
            model = Model.load(checkpoint, kernels);
        } catch (RuntimeException | Error e) {
            kernels.close();
            throw e;
        }
        model.observe(touched);
    }

    /** From now on steps do this; the cache is as if every sequence had come so far. */
    public void begin(Work work) {
        if (cache != null) cache.close();
        int padded = Math.ceilDiv(work.positions(), LatentCache.B) * LatentCache.B;
        var opened = new LatentCache(model, Math.multiplyExact(work.batch(), padded));
        cache = opened;
        this.work = work;
        var slots = new ArrayList<LatentCache.Slot>();
        for (int i = 0; i < work.batch(); i++) {
            var slot = opened.open();
            opened.reserve(slot, work.positions());
            slots.add(slot);
        }
        this.slots = slots;
        if (work instanceof Work.Decode(int _, int depth)) slots.forEach(slot -> opened.pretend(slot, depth));
        var random = new SplittableRandom(1);
        int tokensOfWork = work instanceof Work.Prefill ? work.rows() : work.batch();
        tokens = random.ints(tokensOfWork, 0, model.config().vocabSize()).toArray();
    }

    public Step step() {
        var work = work();
        double cpuBefore = CpuClock.seconds();
        long before = System.nanoTime();
        switch (work) {
            case Work.Decode decode -> decode(decode);
            case Work.Prefill prefill -> prefill(prefill);
        }
        double wall = (System.nanoTime() - before) / 1e9;
        double cpu = CpuClock.seconds() - cpuBefore;
        for (var slot : slots) cache().truncate(slot, work instanceof Work.Decode d ? d.depth() : 0);
        return new Step(wall, cpu, touched.take());
    }

    /** The next token of every sequence is the one that the model says. */
    private void decode(Work.Decode decode) {
        batch.clear();
        for (int b = 0; b < decode.batch(); b++) {
            batch.row(tokens[b], decode.depth());
            batch.span(slots.get(b), 1, 0);
        }
        var logits = model.forward(batch, cache()).logits();
        for (int b = 0; b < decode.batch(); b++) tokens[b] = logits.argmax(b);
    }

    private void prefill(Work.Prefill prefill) {
        int P = prefill.prompt();
        for (int b = 0; b < prefill.batch(); b++)
            for (int from = 0; from < P; from += CHUNK) {
                int to = Math.min(from + CHUNK, P);
                int[] part = Arrays.copyOfRange(tokens, b * P + from, b * P + to);
                var output = model.forward(Batch.of(slots.get(b), part, to == P ? 1 : 0, P), cache());
                if (to == P) output.logits().argmax(0);
            }
    }

    /** From now on calls of kernels are added there, if they are timed. */
    void tell(Times times) {
        if (timed != null) timed.tell(times);
    }

    /** See {@link TimedKernels#emptyCall}; nothing where calls are not timed. */
    OptionalDouble emptyCall() {
        return timed == null ? OptionalDouble.empty() : OptionalDouble.of(timed.emptyCall());
    }

    Footprint footprint() {
        return footprint;
    }

    public double bytes(long experts) {
        return work().bytes(model.config(), footprint, experts);
    }

    public Kernels kernels() {
        return kernels;
    }

    @Override
    public void close() {
        if (cache != null) cache.close();
        model.close();
        kernels.close();
    }

    private Work work() {
        if (work == null) throw new IllegalStateException("no work has begun");
        return work;
    }

    private LatentCache cache() {
        if (cache == null) throw new IllegalStateException("no work has begun");
        return cache;
    }
}
