package org.panamoe.bench.kernel;

import java.util.List;
import org.panamoe.backend.GroupLimitedTopK;
import org.panamoe.backend.Kernels;
import org.panamoe.backend.Routes;
import org.panamoe.bench.Shape;
import org.panamoe.tensor.DType;

/** From scores to rows sorted by expert, for one MoE layer. */
public record Route(GroupLimitedTopK rule, int T) implements KernelWork {
    public static Route of(Shape shape, int T) {
        return new Route(shape.rule(), T);
    }

    @Override
    public String function() {
        return "route";
    }

    @Override
    public int rows() {
        return T;
    }

    @Override
    public String sizes() {
        return "%d of %d".formatted(rule.chosen(), rule.experts());
    }

    /** Scores and bias; experts, shares, tokens and weights of the chosen; offsets. */
    @Override
    public double bytes() {
        int E = rule.experts(), K = rule.chosen();
        return (double) DType.F32.bytes * ((double) T * E + E + 4.0 * T * K + E + 1);
    }

    /** Score and bias of each expert; of each chosen one its part of the sum, a quotient and a product. */
    @Override
    public double flops() {
        return (double) T * (rule.experts() + 3 * rule.chosen());
    }

    @Override
    public Call prepare(Kernels kernels, Inputs inputs) {
        int E = rule.experts(), K = rule.chosen();
        var score_TE = inputs.scores(T, E);
        var bias_E = inputs.scores(E);
        var routes = new Routes(
                inputs.result(DType.I32, T, K),
                inputs.result(DType.F32, T, K),
                inputs.result(DType.I32, E + 1L),
                inputs.result(DType.I32, (long) T * K),
                inputs.result(DType.F32, (long) T * K));
        return new Call(
                List.of(routes.expert_TK(), routes.share_TK(), routes.offset_E1(), routes.token_N(), routes.weight_N()),
                () -> kernels.route(routes, score_TE, bias_E, rule));
    }
}
