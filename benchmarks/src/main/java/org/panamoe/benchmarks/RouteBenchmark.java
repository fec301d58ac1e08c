package org.panamoe.benchmarks;

import org.openjdk.jmh.annotations.Benchmark;
import org.openjdk.jmh.annotations.Param;
import org.panamoe.backend.GroupLimitedTopK;
import org.panamoe.backend.Routes;
import org.panamoe.tensor.DType;
import org.panamoe.tensor.Tensor;

/** From scores to rows sorted by expert, for one MoE layer: bound by latency for a token, by memory for thousands. */
@SuppressWarnings("NullAway.Init") // prepare sets them
public class RouteBenchmark extends KernelBenchmark {
    /** Whose experts are chosen, and how. */
    public enum Rule {
        V3,
        KIMI_K2;

        GroupLimitedTopK topK() {
            return switch (this) {
                case V3 -> new GroupLimitedTopK(256, 8, 8, 4, 2, true, 2.5f);
                case KIMI_K2 -> new GroupLimitedTopK(384, 8, 1, 1, 2, true, 2.827f);
            };
        }
    }

    @Param
    public Rule rule = Rule.V3;

    @Param({"1", "256", "4096"})
    public int tokens = 1;

    GroupLimitedTopK topK;
    Routes routes;
    Tensor score_TE;
    Tensor bias_E;

    @Override
    void prepare(Inputs inputs) {
        topK = rule.topK();
        int T = tokens, E = topK.experts(), K = topK.chosen();
        score_TE = inputs.scores(T, E);
        bias_E = inputs.scores(E);
        routes = new Routes(
                inputs.result(DType.I32, T, K),
                inputs.result(DType.F32, T, K),
                inputs.result(DType.I32, E + 1L),
                inputs.result(DType.I32, (long) T * K),
                inputs.result(DType.F32, (long) T * K));
    }

    @Benchmark
    public void route(Rates rates) {
        call(rates);
    }

    @Override
    void launch() {
        kernels.route(routes, score_TE, bias_E, topK);
    }

    @Override
    double bytes() {
        return score_TE.bytes()
                + bias_E.bytes()
                + routes.expert_TK().bytes()
                + routes.share_TK().bytes()
                + routes.offset_E1().bytes()
                + routes.token_N().bytes()
                + routes.weight_N().bytes();
    }

    /** Score and bias of each expert; of each chosen one its part of the sum, a quotient and a product. No comparisons. */
    @Override
    double flops() {
        return (double) tokens * (topK.experts() + 3 * topK.chosen());
    }
}
