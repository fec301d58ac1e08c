package org.panamoe.lab.routing;

import java.util.SplittableRandom;

/** Batches of seeded scores, some experts better liked than others. */
final class Scores {
    private Scores() {}

    static Batch random(long seed, int T, int E, int K) {
        var random = new SplittableRandom(seed);
        var liked = new SplittableRandom(7);
        double[] liking_E = new double[E];
        for (int e = 0; e < E; e++) liking_E[e] = liked.nextGaussian();
        var batch = Batch.ofScores(T, E, K);
        batch.T = T;
        batch.window = 16;
        for (int i = 0; i < T * E; i++)
            batch.score_TE[i] = (float) (1 / (1 + Math.exp(-liking_E[i % E] - random.nextGaussian())));
        return batch;
    }

    /** The same tokens with other names of the experts: e becomes name_E[e]. */
    static Batch renamed(Batch batch, int[] name_E) {
        var other = Batch.ofScores(batch.T, batch.E, batch.K);
        other.T = batch.T;
        other.window = batch.window;
        for (int t = 0; t < batch.T; t++)
            for (int e = 0; e < batch.E; e++) other.score_TE[t * batch.E + name_E[e]] = batch.score_TE[t * batch.E + e];
        return other;
    }
}
