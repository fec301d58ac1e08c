package org.panamoe.engine;

import java.util.Arrays;
import org.panamoe.model.Logits;

/**
 * Chooses tokens. The token at position i is the argmax over v of log p(v) + Gumbel noise keyed by (seed, i, v), which is
 * a draw from p (Gumbel-max). The noise does not depend on how often or for whom it was drawn, so drafts that are chosen
 * with it can be compared token by token, and the text is that without drafts.
 */
final class Sampler {
    /** Noise lies in [-3.61, 36.74], so what is this much less likely than the likeliest cannot win. */
    private static final float HOPELESS = 41;

    private final Sampling sampling;
    private final float[] logit_V;
    private int[] candidate = new int[0];

    Sampler(Sampling sampling, int vocabulary) {
        this.sampling = sampling;
        logit_V = new float[vocabulary];
    }

    /** The token for {@code position}, from sampled row t. */
    int choose(Logits logits, int t, int position) {
        if (sampling.temperature() == 0) return logits.argmax(t);
        logits.row(t, logit_V);
        return choose(logit_V, position);
    }

    int choose(float[] logit_V, int position) {
        float temperature = Math.max(sampling.temperature(), 1e-5f);
        float max = Float.NEGATIVE_INFINITY;
        for (float logit : logit_V) if (logit > max) max = logit;
        int count = candidates(logit_V, max, temperature);
        int best = count == 0 ? 0 : candidate[0];
        double highest = Double.NEGATIVE_INFINITY;
        for (int i = 0; i < count; i++) {
            int v = candidate[i];
            double score = below(logit_V[v], max, temperature) + noise(sampling.seed(), position, v);
            // Candidates may stand in any order: the lower id wins a tie.
            if (score > highest || (score == highest && v < best)) {
                highest = score;
                best = v;
            }
        }
        return best;
    }

    /** Fills {@code candidate} with the tokens that may be chosen. */
    private int candidates(float[] logit_V, float max, float temperature) {
        if (candidate.length < logit_V.length) candidate = new int[logit_V.length];
        int count = 0;
        double mass = 0; // of all tokens, in units of the likeliest
        for (int v = 0; v < logit_V.length; v++) {
            float below = below(logit_V[v], max, temperature);
            if (sampling.topP() < 1 && below > -HOPELESS) mass += Math.exp(below);
            if (below > -HOPELESS || logit_V[v] == max) candidate[count++] = v;
        }
        if (sampling.topK() == 0 && sampling.topP() == 1) return count;
        sortByLogit(logit_V, count);
        if (sampling.topK() > 0 && sampling.topK() < count) {
            count = sampling.topK();
            mass = 0;
            for (int i = 0; i < count; i++) mass += Math.exp(below(logit_V[candidate[i]], max, temperature));
        }
        if (sampling.topP() == 1) return count;
        double reached = 0;
        for (int i = 0; i < count; i++) {
            reached += Math.exp(below(logit_V[candidate[i]], max, temperature));
            if (reached >= sampling.topP() * mass) return i + 1;
        }
        return count;
    }

    /** 0 for the likeliest, should its logit be infinite. */
    private static float below(float logit, float max, float temperature) {
        return logit == max ? 0 : (logit - max) / temperature;
    }

    /** Likeliest first, the lower id first among equals. */
    private void sortByLogit(float[] logit_V, int count) {
        long[] key = new long[count];
        for (int i = 0; i < count; i++) {
            int bits = Float.floatToIntBits(logit_V[candidate[i]] + 0f); // -0 is 0
            int ascending = bits ^ ((bits >> 31) & 0x7fffffff);
            key[i] = ((long) ~ascending << 32) | candidate[i];
        }
        Arrays.sort(key);
        for (int i = 0; i < count; i++) candidate[i] = (int) key[i];
    }

    /** Standard Gumbel noise, a function of its three arguments alone. */
    static double noise(long seed, int position, int token) {
        long bits = mix(mix(seed) ^ ((long) position << 32 | token));
        // 52 bits and a half are exact: of 53, the largest would be rounded to 1, whose noise is infinite.
        double uniform = ((bits >>> 12) + 0.5) * 0x1p-52;
        return -Math.log(-Math.log(uniform));
    }

    /** The finaliser of SplitMix64 (Steele, Lea, Flood, 2014). */
    private static long mix(long z) {
        z += 0x9e3779b97f4a7c15L;
        z = (z ^ (z >>> 30)) * 0xbf58476d1ce4e5b9L;
        z = (z ^ (z >>> 27)) * 0x94d049bb133111ebL;
        return z ^ (z >>> 31);
    }
}
