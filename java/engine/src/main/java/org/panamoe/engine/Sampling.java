package org.panamoe.engine;

/**
 * How the next token is chosen from the logits.
 *
 * @param temperature what logits are divided by; 0 takes the likeliest token, whatever the rest says
 * @param topK only the likeliest k tokens; 0 for all
 * @param topP of these only the smallest set of likeliest tokens whose probabilities reach p; 1 for all
 * @param seed of the noise: same seed, same text
 */
public record Sampling(float temperature, int topK, float topP, long seed) {
    public Sampling {
        if (!(temperature >= 0) || Float.isInfinite(temperature))
            throw new IllegalArgumentException("temperature " + temperature + " is not in [0, infinity)");
        if (topK < 0) throw new IllegalArgumentException("top-k " + topK + " is negative");
        if (!(topP > 0 && topP <= 1)) throw new IllegalArgumentException("top-p " + topP + " is not in (0, 1]");
    }

    public static Sampling greedy() {
        return new Sampling(0, 0, 1, 0);
    }
}
