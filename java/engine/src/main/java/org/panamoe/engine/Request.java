package org.panamoe.engine;

import java.util.Set;

/** What is asked of the engine. */
public final class Request {
    final int[] prompt;
    final int maxTokens;
    private final int[] stopTokens;
    final Sampling sampling;
    final int drafts;

    /**
     * @param prompt token ids, used verbatim
     * @param maxTokens how many tokens to generate at the most
     * @param stopTokens tokens that end the generation and do not belong to it, usually eos_token_id
     * @param drafts how many tokens the MTP module drafts for each step; the text does not depend on it
     */
    public Request(int[] prompt, int maxTokens, Set<Integer> stopTokens, Sampling sampling, int drafts) {
        if (prompt.length == 0) throw new IllegalArgumentException("the prompt is empty");
        if (maxTokens < 1) throw new IllegalArgumentException("max tokens " + maxTokens + " is less than 1");
        if (drafts < 0) throw new IllegalArgumentException("drafts " + drafts + " is negative");
        this.prompt = prompt.clone();
        this.maxTokens = maxTokens;
        this.stopTokens = stopTokens.stream().mapToInt(Integer::intValue).toArray();
        this.sampling = sampling;
        this.drafts = drafts;
    }

    boolean stopsAt(int token) {
        for (int stop : stopTokens) if (token == stop) return true;
        return false;
    }
}
