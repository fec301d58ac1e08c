package org.panamoe.engine;

import org.jspecify.annotations.Nullable;
import org.panamoe.model.LatentCache;
import org.panamoe.model.Model;

/** Runs generations: each step decides, computes, accepts, forgets, drafts and commits. One caller at a time. */
public final class Engine implements AutoCloseable {
    /** The most rows of a step, if nothing else is said. */
    public static final int DEFAULT_MAX_ROWS = 256;

    private final Model model;
    private final LatentCache cache;
    private final Scheduler scheduler;
    private final Verifier verifier = new Verifier();
    private final @Nullable MtpDrafter drafter;
    private boolean closed;

    /** @param positions how many positions all generations have together, prompts included */
    public Engine(Model model, int positions) {
        this(model, positions, DEFAULT_MAX_ROWS);
    }

    /** @param maxRows the most rows of a step: a longer prompt takes several; no result depends on it */
    public Engine(Model model, int positions, int maxRows) {
        if (maxRows < 1) throw new IllegalArgumentException("max rows " + maxRows + " is less than 1");
        this.model = model;
        cache = new LatentCache(model, positions);
        scheduler = new Scheduler(cache, maxRows);
        drafter = model.mtp().map(mtp -> new MtpDrafter(mtp, cache)).orElse(null);
    }

    /**
     * Adds a generation; {@link #step} moves it on. It ends at the context's end if that comes before maxTokens.
     *
     * @throws IllegalArgumentException if the prompt fills the context, a token is not in the vocabulary, or drafts are
     *     wanted of a model without an MTP module
     * @throws NoRoomException if the cache is full just now; once other generations have ended, there may be room
     * @throws IllegalStateException if the engine is closed
     */
    public Generation add(Request request) {
        requireOpen();
        int prompt = request.prompt.length;
        int context = cache.longest();
        if (prompt >= context)
            throw new IllegalArgumentException("the prompt has %d tokens, the context %d".formatted(prompt, context));
        if (request.drafts > 0 && drafter == null)
            throw new IllegalArgumentException("drafts %d: the model has no MTP module".formatted(request.drafts));
        for (int token : request.prompt)
            if (token < 0 || token >= model.config().vocabSize())
                throw new IllegalArgumentException("token %d of the prompt: vocab_size is %d"
                        .formatted(token, model.config().vocabSize()));
        int maxTokens = Math.min(request.maxTokens, context - prompt);
        scheduler.releaseEnded(); // some may have been cancelled since the last step
        var slot = cache.open();
        if (!cache.reserve(slot, prompt + maxTokens))
            throw new NoRoomException("no room for %d positions: %d of %d are free"
                    .formatted(prompt + maxTokens, cache.freePositions(), cache.positions()));
        var generation = new Generation(request, slot, maxTokens, model.config().vocabSize());
        scheduler.add(generation);
        return generation;
    }

    /**
     * Moves generations on: all, or where they are more than the step has rows, those that have waited longest. Each
     * moves by as much of its prompt as there are rows for, then by at least one token.
     *
     * @return false if there is no generation
     * @throws IllegalStateException if the engine is closed
     */
    public boolean step() {
        requireOpen();
        var turn = scheduler.next();
        if (turn.batch.isEmpty()) return false;
        try {
            advance(turn);
        } catch (RuntimeException | Error e) {
            forget(turn);
            throw e;
        }
        return true;
    }

    private void advance(Turn turn) {
        var output = model.forward(turn.batch, cache);
        var accepted = verifier.accept(turn, output.logits());
        forgetRejected(turn, accepted);
        if (drafter != null) drafter.draft(turn, accepted, output.hidden_TD());
        scheduler.commit(turn, accepted);
    }

    /** As if the step had not been: it may be tried again. */
    private void forget(Turn turn) {
        for (int a = 0; a < turn.batch.A(); a++) {
            var span = turn.batch.span(a);
            int before = turn.batch.position(span.from());
            if (span.slot().length() > before) cache.truncate(span.slot(), before);
        }
    }

    private void forgetRejected(Turn turn, Accepted accepted) {
        for (int a = 0; a < accepted.count.length; a++) {
            var span = turn.batch.span(a);
            int rejected = Math.max(span.sampled() - 1, 0) - accepted.count[a];
            cache.truncate(span.slot(), span.slot().length() - rejected);
        }
    }

    private void requireOpen() {
        if (closed) throw new IllegalStateException("the engine is closed");
    }

    /** Cancels what is running; does nothing the second time. */
    @Override
    public void close() {
        closed = true;
        scheduler.cancelAll();
        cache.close();
    }
}
