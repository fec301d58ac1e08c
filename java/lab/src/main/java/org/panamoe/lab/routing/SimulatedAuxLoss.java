package org.panamoe.lab.routing;

import org.panamoe.backend.GroupLimitedTopK;

/**
 * An auxiliary loss, simulated: of the whole router only an offset d_j of each expert's logit learns, by exact gradient
 * descent on
 *
 * <pre>
 *   L = sum over j of f_j P_j,   f_j = E / (K T) * c_j,   P_j = mean over i of s'_ij / sum over j of s'_ij
 *   s' = sigmoid(logit(s) + d),  f taken as constant
 * </pre>
 *
 * either for each sequence, L being their mean (DeepSeek-V3 report, equations 17 to 20), or over the whole batch (Qiu et
 * al. 2025, arXiv 2501.11873). What the loss does to a model that trains cannot be seen here: this shows how fast, and how
 * far, its pull balances a batch, and its results must not be ranked against those of training.
 *
 * <p>Scores must come from a sigmoid; sequences are whole where a batch is a multiple of them. Parameters: rate (learning rate times alpha, over E; 1).
 */
final class SimulatedAuxLoss implements Balancer {
    private final GroupLimitedTopK rule;
    private final boolean bySequence;
    private final double rate;
    private final double[] offset_E;
    private float[] score_TE = new float[0];

    SimulatedAuxLoss(GroupLimitedTopK rule, Parameters parameters, boolean bySequence) {
        this.rule = rule;
        this.bySequence = bySequence;
        rate = parameters.number("rate", 1, 0);
        offset_E = new double[rule.experts()];
    }

    /** sigmoid(logit(s) + d) = s g / (1 - s + s g) with g = exp(d). */
    @Override
    public void route(Batch batch, Choices choices) {
        int E = rule.experts();
        if (score_TE.length < batch.T * E) score_TE = new float[batch.T * E];
        double[] gain_E = new double[E];
        for (int e = 0; e < E; e++) gain_E[e] = Math.exp(offset_E[e]);
        for (int i = 0; i < batch.T * E; i++) {
            double scaled = batch.score_TE[i] * gain_E[i % E];
            score_TE[i] = (float) (scaled / (1 - batch.score_TE[i] + scaled));
        }
        choices.takeBest(score_TE, batch.T, new float[E]);
    }

    @Override
    public void learn(Batch batch, Choices choices) {
        int E = rule.experts();
        double[] gradient_E = new double[E];
        int length = bySequence ? batch.window : batch.T;
        for (int from = 0; from < batch.T; from += length)
            addGradient(choices, from, Math.min(from + length, batch.T), gradient_E);
        for (int e = 0; e < E; e++) offset_E[e] -= rate * E * gradient_E[e] / batch.T;
    }

    /** What each logit is offset by. */
    double[] offsets() {
        return offset_E.clone();
    }

    /** dL/dz_ie = s (1 - s) / S * (f_e - sum over j of f_j s_ij / S), S the sum of a token's scores; added up over i. */
    private void addGradient(Choices choices, int from, int to, double[] gradient_E) {
        int E = rule.experts();
        long[] count_E = new long[E];
        choices.count(from, to, count_E);
        double each = (double) (to - from) * rule.chosen() / E;
        for (int t = from; t < to; t++) {
            double sum = 0, weighted = 0;
            for (int e = 0; e < E; e++) {
                double score = score_TE[t * E + e];
                sum += score;
                weighted += score * count_E[e] / each;
            }
            for (int e = 0; e < E; e++) {
                double score = score_TE[t * E + e];
                gradient_E[e] += score * (1 - score) / sum * (count_E[e] / each - weighted / sum);
            }
        }
    }
}
