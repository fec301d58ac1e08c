package org.panamoe.lab.routing;

import com.google.common.collect.Maps;
import java.util.Arrays;
import java.util.EnumMap;
import org.jspecify.annotations.Nullable;
import org.panamoe.backend.GroupLimitedTopK;

/** Measures one layer, batch by batch, in memory that does not grow. */
final class Measurement {
    private static final int EARLY = 5;

    private final GroupLimitedTopK rule;
    private final Geometry geometry;
    private final int computationBatch;
    private final int[] rank_E;
    private final int[] node_E;
    private final int[] seenRank;
    private final int[] seenNode;
    private int stamp;
    private final long[] piece_E;
    private final long[] batch_E;
    private final long[] rank_R;
    private final long[] padded_R;

    private final Curve maxVio = new Curve();
    private final Mean early = new Mean(), batches = new Mean(), pieces = new Mean();
    private final Mean balancedness = new Mean(), maxOverMean = new Mean(), straggler = new Mean();
    private double sup;
    private final long[] count_E;
    private long tokens, rows, dropped, nodes, ranks, padding, padded, agreed;
    private double chosenScore, bestScore;

    /** A mean of what is added one by one. */
    private static final class Mean {
        double sum;
        long n;

        void add(double value) {
            sum += value;
            n++;
        }

        double get() {
            return sum / n;
        }
    }

    Measurement(GroupLimitedTopK rule, Geometry geometry, int computationBatch) {
        int E = rule.experts();
        geometry.check(E);
        this.rule = rule;
        this.geometry = geometry;
        this.computationBatch = computationBatch;
        rank_E = new int[E];
        node_E = new int[E];
        for (int e = 0; e < E; e++) {
            rank_E[e] = e / (E / geometry.ranks());
            node_E[e] = rank_E[e] / (geometry.ranks() / geometry.nodes());
        }
        seenRank = new int[geometry.ranks()];
        seenNode = new int[geometry.nodes()];
        piece_E = new long[E];
        batch_E = new long[E];
        count_E = new long[E];
        rank_R = new long[geometry.ranks()];
        padded_R = new long[geometry.ranks()];
    }

    /**
     * @param unbiased what no balancing would choose; null if there are no scores
     * @param measured whether this batch counts, beyond the curve of MaxVio
     */
    void observe(Batch batch, Choices choices, @Nullable Choices unbiased, boolean measured) {
        long slots = (long) batch.T * rule.chosen();
        if (choices.tokens() != batch.T || choices.size() + choices.dropped() != slots)
            throw new IllegalStateException("%d tokens with %d experts each became %d tokens with %d rows, %d dropped"
                    .formatted(batch.T, rule.chosen(), choices.tokens(), choices.size(), choices.dropped()));
        Arrays.fill(batch_E, 0);
        for (int from = 0; from < batch.T; from += computationBatch) {
            int to = Math.min(from + computationBatch, batch.T);
            Arrays.fill(piece_E, 0);
            choices.count(from, to, piece_E);
            for (int e = 0; e < piece_E.length; e++) batch_E[e] += piece_E[e];
            // The rest of a batch is no computation batch, unless there is nothing else.
            if (measured && (to - from == computationBatch || pieces.n == 0)) observePiece();
        }
        double vio = Balance.maxVio(batch_E);
        maxVio.add(vio);
        if (early.n < EARLY) early.add(vio);
        if (!measured) return;
        if (batch.T == batch.capacity() || batches.n == 0) {
            batches.add(vio);
            sup = Math.max(sup, vio);
        }
        tokens += batch.T;
        rows += choices.size();
        dropped += choices.dropped();
        for (int e = 0; e < count_E.length; e++) count_E[e] += batch_E[e];
        observeTokens(choices);
        if (unbiased != null) compare(batch, choices, unbiased);
    }

    private void observePiece() {
        pieces.add(Balance.maxVio(piece_E));
        Arrays.fill(rank_R, 0);
        Arrays.fill(padded_R, 0);
        for (int e = 0; e < piece_E.length; e++) {
            long whole = Math.ceilDiv(piece_E[e], geometry.tile()) * geometry.tile();
            rank_R[rank_E[e]] += piece_E[e];
            padded_R[rank_E[e]] += whole;
            padding += whole - piece_E[e];
            padded += whole;
        }
        double most = Balance.maxVio(rank_R) + 1;
        maxOverMean.add(most);
        balancedness.add(1 / most);
        straggler.add(Balance.maxVio(padded_R) + 1);
    }

    private void observeTokens(Choices choices) {
        for (int t = 0; t < choices.tokens(); t++) {
            stamp++;
            for (int n = choices.offset_T1[t]; n < choices.offset_T1[t + 1]; n++) {
                int e = choices.expert_N[n];
                if (seenRank[rank_E[e]] == stamp) continue;
                seenRank[rank_E[e]] = stamp;
                ranks++;
                if (seenNode[node_E[e]] == stamp) continue;
                seenNode[node_E[e]] = stamp;
                nodes++;
            }
        }
    }

    private void compare(Batch batch, Choices choices, Choices unbiased) {
        int E = rule.experts();
        boolean[] best_E = new boolean[E];
        for (int t = 0; t < batch.T; t++) {
            for (int n = unbiased.offset(t); n < unbiased.offset(t + 1); n++) {
                best_E[unbiased.expert(n)] = true;
                bestScore += batch.score_TE[t * E + unbiased.expert(n)];
            }
            for (int n = choices.offset(t); n < choices.offset(t + 1); n++) {
                if (best_E[choices.expert(n)]) agreed++;
                chosenScore += batch.score_TE[t * E + choices.expert(n)];
            }
            Arrays.fill(best_E, false);
        }
    }

    /** @param bias_E what the method has learnt */
    LayerOutcome outcome(float[] bias_E) {
        if (Arrays.stream(count_E).sum() != rows || rows + dropped != tokens * rule.chosen())
            throw new IllegalStateException("%d tokens with %d experts each became %d rows, %d dropped"
                    .formatted(tokens, rule.chosen(), rows, dropped));
        var balance = Balance.of(count_E);
        var all = new EnumMap<Metric, Double>(Metric.class);
        all.put(Metric.MAX_VIO_GLOBAL, balance.maxVio());
        all.put(Metric.MAX_VIO_BATCH, batches.get());
        all.put(Metric.MAX_VIO_BATCH_SUP, sup);
        all.put(Metric.MAX_VIO_BATCH_EARLY, early.get());
        all.put(Metric.MAX_VIO_COMPUTATION, pieces.get());
        all.put(Metric.MIN_VIO, balance.minVio());
        all.put(Metric.CV, balance.cv());
        all.put(Metric.ENTROPY, balance.entropy());
        all.put(Metric.GINI, balance.gini());
        all.put(Metric.DEAD_EXPERTS, (double) balance.dead());
        all.put(Metric.TOP5_SHARE, balance.top5Share());
        all.put(Metric.BALANCEDNESS, balancedness.get());
        all.put(Metric.MAX_OVER_MEAN, maxOverMean.get());
        if (bestScore > 0) {
            all.put(Metric.SCORE_KEPT, chosenScore / bestScore);
            all.put(Metric.SCORE_REGRET, 1 - chosenScore / bestScore);
            all.put(Metric.AGREEMENT, (double) agreed / rows);
        }
        double nodesEach = (double) nodes / tokens, ranksEach = (double) ranks / tokens;
        all.put(Metric.NODES_PER_TOKEN, nodesEach);
        all.put(Metric.RANKS_PER_TOKEN, ranksEach);
        // Wherever a token lives, a copy stays at home with the chance 1 / nodes.
        all.put(Metric.INTER_NODE_BYTES, nodesEach * (1 - 1.0 / geometry.nodes()) * geometry.bytesPerCopy());
        all.put(Metric.INTER_RANK_BYTES, ranksEach * (1 - 1.0 / geometry.ranks()) * geometry.bytesPerCopy());
        all.put(Metric.PADDED_ROWS, (double) padding / (padded - padding));
        all.put(Metric.DROPPED_SLOTS, (double) dropped / (rows + dropped));
        all.put(Metric.STRAGGLER, straggler.get());
        return new LayerOutcome(Maps.immutableEnumMap(all), maxVio, count_E.clone(), bias_E, tokens);
    }
}
