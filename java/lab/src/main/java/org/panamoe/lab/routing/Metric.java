package org.panamoe.lab.routing;

import java.util.Locale;

/**
 * What is measured of a layer. c_j is what expert j computes of some tokens, mean(c) the mean over experts. A node is a
 * group of experts, a rank one device; experts lie on ranks, and ranks on nodes, in their order.
 */
public enum Metric {
    MAX_VIO_GLOBAL("max c / mean c - 1 over all measured tokens"),
    MAX_VIO_BATCH("max c / mean c - 1 of one batch: the mean over measured batches"),
    MAX_VIO_BATCH_SUP("the same, the largest of all measured batches"),
    MAX_VIO_BATCH_EARLY("the same, the mean over the first five batches of the replay"),
    MAX_VIO_COMPUTATION("max c / mean c - 1 of one computation batch, which decides the time of a step: the mean"),
    MIN_VIO("1 - min c / mean c over all measured tokens"),
    CV("standard deviation of c / mean c"),
    ENTROPY("entropy of c / ln E: 1 where all are equal"),
    GINI("sum over i, j of |c_i - c_j| / (2 E^2 mean c)"),
    DEAD_EXPERTS("experts that computed nothing"),
    TOP5_SHARE("share of the rows that the busiest 5 % of the experts compute"),
    BALANCEDNESS("mean load of a rank / max load of a rank, of one computation batch: the mean"),
    MAX_OVER_MEAN("max load of a rank / mean load of a rank, of one computation batch: the mean"),
    SCORE_KEPT("sum of the chosen scores / sum of those that no balancing would choose"),
    SCORE_REGRET("1 - score kept"),
    AGREEMENT("share of the rows that no balancing would choose too"),
    NODES_PER_TOKEN("distinct nodes of a token's experts"),
    RANKS_PER_TOKEN("distinct ranks of a token's experts"),
    INTER_NODE_BYTES("bytes a token sends to other nodes, FP8 out and BF16 back, its own being any with equal chance"),
    INTER_RANK_BYTES("bytes a token sends to other ranks, likewise"),
    PADDED_ROWS("rows of padding for each computed row: an expert's rows of a computation batch fill whole tiles"),
    DROPPED_SLOTS("share of the slots that nobody computes"),
    STRAGGLER("max padded rows of a rank / mean of a rank, of one computation batch: the mean");

    /** What it is, in one line. */
    public final String meaning;

    Metric(String meaning) {
        this.meaning = meaning;
    }

    /** Its name in tables and files. */
    public String key() {
        return name().toLowerCase(Locale.ROOT);
    }
}
