package org.panamoe.lab.routing;

import com.google.common.hash.Hashing;
import java.util.Arrays;
import java.util.List;
import java.util.SplittableRandom;
import java.util.stream.IntStream;
import org.panamoe.backend.GroupLimitedTopK;

/**
 * A stream that is made up as it is read. Windows of tokens are about one topic; a token has an id, frequent ones by
 * Zipf's law; the logit of expert e is
 *
 * <pre>  skew * a_e + topic * b_(topic, e) + token * c_(id, e) + drift * x_e(window) + noise * n</pre>
 *
 * with a, b, c drawn once for each layer, n for each score, all normal, and x wandering from window to window (first-order
 * autoregression of deviation 1). A window may be a burst, one id only; from the share {@code shift} of the stream on all
 * topics are others. The score is the logit's sigmoid.
 *
 * <p>The router (a, b, c) is that of the parameter seed; the stream is that of the seed with which it is read. A token is
 * the same one in all layers.
 */
public final class SyntheticTrace implements Trace {
    private static final int IDS = 1024;
    private static final double MEMORY = 0.98;

    private final MethodSpec spec;
    private final GroupLimitedTopK rule;
    private final int layers;
    private final long tokens;
    private final int window;
    private final int topics;
    private final double zipf;
    private final double skew;
    private final double topic;
    private final double token;
    private final double drift;
    private final double noise;
    private final double bursts;
    private final double shift;
    private final long seed;

    /**
     * @param text {@code synthetic:experts=64,chosen=6,...}: experts, chosen, groups, kept, layers, tokens, window, topics,
     *     zipf, skew, topic, token, drift, noise, bursts, shift, seed
     */
    public static SyntheticTrace parse(String text) {
        return new SyntheticTrace(MethodSpec.parse(text));
    }

    SyntheticTrace(MethodSpec spec) {
        this.spec = spec;
        if (!spec.method().equals("synthetic"))
            throw new IllegalArgumentException(spec + ": a stream that is made up is called synthetic");
        var p = new Parameters(spec);
        int groups = p.integer("groups", 1, 1);
        rule = Trace.rule(p.integer("experts", 64, 1), p.integer("chosen", 6, 1), groups, p.integer("kept", groups, 1));
        layers = p.integer("layers", 2, 1);
        tokens = p.integer("tokens", 1 << 16, 1);
        window = p.integer("window", 256, 1);
        topics = p.integer("topics", 8, 1);
        zipf = p.number("zipf", 1.1, 0);
        skew = p.number("skew", 0.3, 0);
        topic = p.number("topic", 0.5, 0);
        token = p.number("token", 0.8, 0);
        drift = p.number("drift", 0, 0);
        noise = p.number("noise", 0.5, 0);
        bursts = p.number("bursts", 0, 0);
        shift = p.number("shift", 1, 0);
        seed = p.integer("seed", 1, 0);
        p.refuseOthers();
        if (bursts > 1 || shift > 1) throw p.wrong("bursts and shift are shares, at most 1");
    }

    @Override
    public String name() {
        return spec.toString();
    }

    @Override
    public GroupLimitedTopK rule() {
        return rule;
    }

    @Override
    public List<Integer> layers() {
        return IntStream.range(0, layers).boxed().toList();
    }

    @Override
    public boolean hasScores() {
        return true;
    }

    @Override
    public boolean hasChoices() {
        return false;
    }

    @Override
    public Reader read(int layer, long readSeed) {
        return new LayerReader(layer, readSeed);
    }

    @Override
    public void close() {}

    private static SplittableRandom random(long... of) {
        var hasher = Hashing.murmur3_128().newHasher();
        for (long value : of) hasher.putLong(value);
        return new SplittableRandom(hasher.hash().asLong());
    }

    private final class LayerReader implements Reader {
        private final int E = rule.experts();
        private final int layer;
        private final long readSeed;
        private final double[] skew_E;
        private final double[][] topic_ME;
        private final double[][] token_VE;
        private final double[] share_V = new double[IDS];
        private final double[] drift_E;
        private final double[] fixed_E = new double[E];
        private final SplittableRandom wander;
        private SplittableRandom ids = random(0);
        private SplittableRandom noises = random(0);
        private double[] topic_E = new double[0];
        private int onlyId;
        private long at;

        LayerReader(int layer, long readSeed) {
            this.layer = layer;
            this.readSeed = readSeed;
            var router = random(seed, layer);
            skew_E = normal(router, skew);
            topic_ME = new double[2 * topics][];
            Arrays.setAll(topic_ME, m -> normal(router, topic));
            token_VE = new double[IDS][];
            Arrays.setAll(token_VE, v -> normal(router, token));
            for (int v = 0; v < IDS; v++) share_V[v] = Math.pow(v + 1, -zipf) + (v == 0 ? 0 : share_V[v - 1]);
            double sum = share_V[IDS - 1];
            for (int v = 0; v < IDS; v++) share_V[v] /= sum;
            wander = random(seed, readSeed, layer, 2);
            drift_E = normal(wander, drift);
        }

        private double[] normal(SplittableRandom random, double deviation) {
            double[] values = new double[E];
            for (int e = 0; e < E; e++) values[e] = deviation * random.nextGaussian();
            return values;
        }

        @Override
        public boolean next(Batch batch) {
            batch.window = window;
            batch.T = (int) Math.min(batch.capacity(), tokens - at);
            for (int t = 0; t < batch.T; t++, at++) {
                if (at % window == 0) open(at / window);
                double[] token_E = token_VE[onlyId >= 0 ? onlyId : id()];
                for (int e = 0; e < E; e++) {
                    double logit = fixed_E[e] + topic_E[e] + token_E[e];
                    if (noise > 0) logit += noise * noises.nextGaussian();
                    batch.score_TE[t * E + e] = (float) (1 / (1 + Math.exp(-logit)));
                }
            }
            return batch.T > 0;
        }

        /** A window's topic and ids are those of all layers, its noise is that of this one. */
        private void open(long number) {
            ids = random(seed, readSeed, number, 0);
            noises = random(seed, readSeed, number, 1, layer);
            topic_E = topic_ME[ids.nextInt(topics) + (at >= shift * tokens ? topics : 0)];
            onlyId = ids.nextDouble() < bursts ? id() : -1;
            for (int e = 0; e < E; e++) {
                if (number > 0)
                    drift_E[e] = MEMORY * drift_E[e] + drift * Math.sqrt(1 - MEMORY * MEMORY) * wander.nextGaussian();
                fixed_E[e] = skew_E[e] + drift_E[e];
            }
        }

        private int id() {
            int found = Arrays.binarySearch(share_V, ids.nextDouble());
            return Math.min(found < 0 ? -found - 1 : found, IDS - 1);
        }
    }
}
