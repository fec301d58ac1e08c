package org.panamoe.lab.cost;

import java.util.ArrayList;
import java.util.List;
import org.panamoe.checkpoint.ModelConfig;

/**
 * What it takes to train a model: pre-training from its operations, the later stages as their hours were reported. By
 * default DeepSeek-V3, whose report (table 1) has 2664K + 119K + 5K = 2788K H800 hours, $5.576M. Only the run itself: no
 * research, no ablations before it.
 *
 * @param tokens of pre-training
 * @param context of pre-training
 * @param mfu share of the BF16 peak that the operations come to
 * @param extensionHours GPU hours of the context extension, as reported
 * @param postTrainingHours GPU hours of post-training, as reported
 * @param gpus that work at once
 * @param pue what a data centre takes for each watt of its GPUs
 */
public record TrainingCost(
        ModelConfig config,
        Gpu gpu,
        double tokens,
        double context,
        double mfu,
        double extensionHours,
        double postTrainingHours,
        double gpus,
        double pue) {
    /** Of the BF16 peak: it makes the report's 180K H800 hours for 10^12 tokens, MTP counted. */
    public static final double V3_MFU = 0.4065;

    public TrainingCost {
        Check.positive("tokens", tokens);
        Check.positive("context", context);
        Check.share("mfu", mfu);
        Check.notNegative("extension hours", extensionHours);
        Check.notNegative("post-training hours", postTrainingHours);
        Check.positive("gpus", gpus);
        Check.positive("pue", pue);
    }

    /** DeepSeek-V3's own run. */
    public static TrainingCost deepSeekV3() {
        return new TrainingCost(DeepSeekV3.CONFIG, Gpu.H800, 14.8e12, 4096, V3_MFU, 119e3, 5e3, 2048, 1);
    }

    /** Operations of one training token. */
    public double flopsPerToken() {
        return TokenFlops.TRAINING * TokenFlops.forward(config, context, true);
    }

    /** GPU hours of pre-training. */
    public double pretrainingHours() {
        return hours(tokens, flopsPerToken(), gpu, mfu);
    }

    /** GPU hours of all stages. */
    public double hours() {
        return pretrainingHours() + extensionHours + postTrainingHours;
    }

    /** GPU hours that a number of tokens takes. */
    static double hours(double tokens, double flopsPerToken, Gpu gpu, double mfu) {
        return tokens * flopsPerToken / (gpu.bf16Flops() * mfu) / 3600;
    }

    /** The account, line by line. */
    public List<Line> lines() {
        double weights = TokenFlops.activeWeights(config), mtp = TokenFlops.mtpWeights(config);
        double main = TokenFlops.TRAINING * TokenFlops.forward(config, context, false), flops = flopsPerToken();
        double perTrillion = pretrainingHours() / tokens * 1e12, price = gpu.dollarsPerHour();
        var lines = new ArrayList<Line>();
        lines.add(new Line(
                "active weights",
                weights,
                "weights",
                "matrices that a token passes, with the head, without the embedding"));
        lines.add(
                new Line("MTP weights", mtp, "weights", "its layer, the projection of two states, the head once more"));
        lines.add(new Line(
                "attention",
                TokenFlops.attention(config, context),
                "FLOP/token/layer",
                "2 %d heads (%d + %d + %d) %.0f / 2"
                        .formatted(
                                config.numAttentionHeads(),
                                config.qkNopeHeadDim(),
                                config.qkRopeHeadDim(),
                                config.vHeadDim(),
                                context)));
        lines.add(new Line(
                "main model",
                main,
                "FLOP/token",
                "3 (2 %.4g + %d layers of attention)".formatted(weights, config.numHiddenLayers())));
        lines.add(new Line(
                "with MTP",
                flops,
                "FLOP/token",
                "3 (2 (%.4g + %.4g) + %d layers of attention)"
                        .formatted(weights, mtp, config.numHiddenLayers() + config.numNextnPredictLayers())));
        lines.add(new Line(
                "pre-training",
                pretrainingHours(),
                "GPU hours",
                "%.4g tokens %.4g FLOP / (%.4g FLOP/s %.4f) / 3600".formatted(tokens, flops, gpu.bf16Flops(), mfu)));
        lines.add(new Line(
                "per 10^12 tokens",
                perTrillion,
                "GPU hours",
                "pre-training / %.4g 10^12 tokens".formatted(tokens / 1e12)));
        lines.add(new Line("", perTrillion / gpus / 24, "days", "on %.0f GPUs".formatted(gpus)));
        lines.add(new Line("context extension", extensionHours, "GPU hours", "as reported"));
        lines.add(new Line("post-training", postTrainingHours, "GPU hours", "as reported"));
        lines.add(new Line(
                "total",
                hours(),
                "GPU hours",
                "%.0fK + %.0fK + %.0fK"
                        .formatted(pretrainingHours() / 1e3, extensionHours / 1e3, postTrainingHours / 1e3)));
        if (!Double.isNaN(price)) {
            lines.add(new Line(
                    "pre-training",
                    pretrainingHours() * price,
                    "$",
                    "%.0f h at $%.2f".formatted(pretrainingHours(), price)));
            lines.add(new Line(
                    "context extension",
                    extensionHours * price,
                    "$",
                    "%.0f h at $%.2f".formatted(extensionHours, price)));
            lines.add(new Line(
                    "post-training",
                    postTrainingHours * price,
                    "$",
                    "%.0f h at $%.2f".formatted(postTrainingHours, price)));
            lines.add(new Line(
                    "total",
                    hours() * price,
                    "$",
                    "%.0f h at $%.2f; the run alone, without the research before it".formatted(hours(), price)));
        }
        lines.add(new Line(
                "energy",
                hours() * gpu.watts() * pue / 1e6,
                "MWh",
                "%.0f h %.0f W %.2f; at the GPUs' limit, so an upper bound for them"
                        .formatted(hours(), gpu.watts(), pue)));
        return lines;
    }
}
