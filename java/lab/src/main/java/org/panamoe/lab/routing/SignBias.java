package org.panamoe.lab.routing;

import java.util.Optional;
import org.panamoe.backend.GroupLimitedTopK;

/**
 * Loss-free balancing by sign. After each batch
 *
 * <pre>  b_j += u * sign(mean(c) - c_j)</pre>
 *
 * from the counts c of the whole batch; nobody's bias moves whose count is the mean. It never converges: it ends in a
 * cycle about u wide. Wang et al. 2024 (arXiv 2408.15664), algorithm 1; DeepSeek-V3 report, section 2.1.2: u = 0.001.
 *
 * <p>With {@code recentre=true} the step is first freed of its mean, so that the biases add up to 0 for ever, as torchtitan
 * does it. Choices are the same in exact arithmetic, for only differences of biases count.
 *
 * <p>Parameters: rate (u, 0.001), recentre (false or true).
 */
final class SignBias implements Balancer {
    private final float[] bias_E;
    private final double rate;
    private final boolean recentre;

    SignBias(GroupLimitedTopK rule, Parameters parameters, Optional<float[]> recorded) {
        bias_E = new float[rule.experts()];
        rate = parameters.number("rate", 0.001, 0);
        recentre = parameters.word("recentre", "false", "true").equals("true");
    }

    @Override
    public void route(Batch batch, Choices choices) {
        choices.takeBest(batch, bias_E);
    }

    @Override
    public void learn(Batch batch, Choices choices) {
        long[] count_E = choices.count();
        int E = count_E.length;
        long N = choices.size();
        int[] sign_E = new int[E];
        int sum = 0;
        for (int e = 0; e < E; e++) {
            sign_E[e] = Long.signum(N - count_E[e] * E);
            sum += sign_E[e];
        }
        double mean = recentre ? (double) sum / E : 0;
        for (int e = 0; e < E; e++) bias_E[e] += (float) (rate * (sign_E[e] - mean));
    }

    @Override
    public float[] bias() {
        return bias_E.clone();
    }
}
