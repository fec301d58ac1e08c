package org.panamoe.lab.routing;

import java.util.Optional;
import org.panamoe.backend.GroupLimitedTopK;

/**
 * Loss-free balancing in proportion to the error. After each batch
 *
 * <pre>  b_j += u * (mean(c) - c_j) / mean(c)</pre>
 *
 * Wang et al. 2024 (arXiv 2408.15664), section 4.3, use the error in tokens; it is divided by the mean here, so that a
 * rate means the same for every batch size.
 *
 * <p>Parameters: rate (u, 0.01).
 */
final class ProportionalBias implements Balancer {
    private final float[] bias_E;
    private final double rate;

    ProportionalBias(GroupLimitedTopK rule, Parameters parameters, Optional<float[]> recorded) {
        bias_E = new float[rule.experts()];
        rate = parameters.number("rate", 0.01, 0);
    }

    @Override
    public void route(Batch batch, Choices choices) {
        choices.takeBest(batch, bias_E);
    }

    @Override
    public void learn(Batch batch, Choices choices) {
        long[] count_E = choices.count();
        double mean = (double) choices.size() / count_E.length;
        for (int e = 0; e < count_E.length; e++) bias_E[e] += (float) (rate * (mean - count_E[e]) / mean);
    }

    @Override
    public float[] bias() {
        return bias_E.clone();
    }
}
