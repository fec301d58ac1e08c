package org.panamoe.engine;

import java.util.Arrays;
import org.panamoe.model.LatentCache;

/**
 * One request's life. Any thread may {@link #cancel} it and ask for its {@link #status}; the rest is for the engine's
 * caller.
 */
public final class Generation {
    public enum Status {
        RUNNING,
        /** A stop token was chosen. */
        EOS,
        /** maxTokens, or all positions of the context, are used up. */
        LENGTH,
        /** See {@link #cancel}. */
        CANCELLED
    }

    final Request request;
    final LatentCache.Slot slot;
    final Sampler sampler;
    final int maxTokens;
    /** What the next step verifies: the first of them. */
    int[] drafts;

    private int draftCount;
    /** What the step after the next one will verify, until {@link #append}. */
    private int[] further;

    private int furtherCount;
    private int[] tokens;
    private int count;
    private volatile Status status = Status.RUNNING;
    private int steps;
    private final int[] offered_J;
    private final int[] accepted_J;

    Generation(Request request, LatentCache.Slot slot, int maxTokens, int vocabulary) {
        this.request = request;
        this.slot = slot;
        this.maxTokens = maxTokens;
        sampler = new Sampler(request.sampling, vocabulary);
        tokens = Arrays.copyOf(request.prompt, request.prompt.length + maxTokens);
        count = request.prompt.length;
        drafts = new int[request.drafts];
        further = new int[request.drafts];
        offered_J = new int[request.drafts];
        accepted_J = new int[request.drafts];
    }

    public Status status() {
        return status;
    }

    /** The generated tokens so far, without the prompt and without the stop token. */
    public int[] tokens() {
        return Arrays.copyOfRange(tokens, request.prompt.length, count);
    }

    /** Number of generated tokens so far. */
    public int generated() {
        return count - request.prompt.length;
    }

    /** Generates no more; tokens stay. Any thread may call it, during a step too, whose tokens then do not count. */
    public void cancel() {
        end(Status.CANCELLED);
    }

    /** The first end stands. */
    private synchronized void end(Status how) {
        if (status == Status.RUNNING) status = how;
    }

    /** Steps that chose tokens, the one that ended the prompt included. */
    public int steps() {
        return steps;
    }

    /** How often a j-th draft was verified, j from 0. */
    public int[] offered() {
        return offered_J.clone();
    }

    /** How often the j-th draft, and all before it, stood. */
    public int[] accepted() {
        return accepted_J.clone();
    }

    /** Certain tokens, prompt included. */
    int count() {
        return count;
    }

    int token(int position) {
        return tokens[position];
    }

    /** How many drafts the next step verifies. */
    int draftCount() {
        return draftCount;
    }

    int draft(int j) {
        return drafts[j];
    }

    /** Of the step that is running there will be so many drafts. */
    void expect(int count) {
        furtherCount = count;
    }

    int expected() {
        return furtherCount;
    }

    /** Draft j of those that are expected; it counts from {@link #append} on. */
    void expect(int j, int token) {
        further[j] = token;
    }

    /** How many drafts are worth having once {@code more} further tokens are certain. */
    int draftsWanted(int more) {
        return Math.clamp(maxTokens - generated() - more - 1L, 0, request.drafts);
    }

    /**
     * The drafts that stood and the model's own next token become certain, up to the end of the generation; those that
     * were expected take the drafts' place.
     */
    void append(int verified, int standing, int next) {
        steps++;
        for (int j = 0; j < verified; j++) {
            offered_J[j]++;
            if (j < standing) accepted_J[j]++;
        }
        for (int j = 0; j <= standing && status == Status.RUNNING; j++) {
            int token = j < standing ? drafts[j] : next;
            if (request.stopsAt(token)) {
                end(Status.EOS);
            } else {
                tokens[count++] = token;
                if (generated() == maxTokens) end(Status.LENGTH);
            }
        }
        var spent = drafts;
        drafts = further;
        draftCount = furtherCount;
        further = spent;
        furtherCount = 0;
    }
}
