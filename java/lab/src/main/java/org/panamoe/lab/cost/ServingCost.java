package org.panamoe.lab.cost;

import java.util.List;

/**
 * What a day of serving costs and might earn. By default DeepSeek's own day of February 2025 (open-infra-index, day 6).
 *
 * @param nodes in use, the mean over the day
 * @param dollarsPerGpuHour what a GPU costs
 * @param inputTokens of the day
 * @param hitShare of the input tokens that were in the cache
 * @param outputTokens of the day
 * @param inputPerSecond tokens that a prefilling node takes in
 * @param outputPerSecond tokens that a decoding node gives out
 * @param hitPrice dollars for a million input tokens in the cache
 * @param missPrice dollars for a million other input tokens
 * @param outputPrice dollars for a million output tokens
 */
public record ServingCost(
        double nodes,
        double gpusPerNode,
        double dollarsPerGpuHour,
        double inputTokens,
        double hitShare,
        double outputTokens,
        double inputPerSecond,
        double outputPerSecond,
        double hitPrice,
        double missPrice,
        double outputPrice) {
    public ServingCost {
        Check.positive("nodes", nodes);
        Check.positive("GPUs of a node", gpusPerNode);
        Check.notNegative("price", dollarsPerGpuHour);
        Check.positive("input tokens", inputTokens);
        Check.notNegative("cache hits", hitShare);
        if (hitShare > 1) throw new IllegalArgumentException("cache hits: %s is above 1".formatted(hitShare));
        Check.positive("output tokens", outputTokens);
        Check.positive("input tokens a second", inputPerSecond);
        Check.positive("output tokens a second", outputPerSecond);
        Check.notNegative("price of cached input", hitPrice);
        Check.notNegative("price of input", missPrice);
        Check.notNegative("price of output", outputPrice);
    }

    /** Prices are those of DeepSeek-R1 at that time. */
    public static ServingCost deepSeekDay() {
        return new ServingCost(226.75, 8, 2, 608e9, 0.563, 168e9, 73.7e3, 14.8e3, 0.14, 0.55, 2.19);
    }

    /** Dollars of the day. */
    public double cost() {
        return nodes * gpusPerNode * 24 * dollarsPerGpuHour;
    }

    /** Dollars that a node costs in an hour. */
    private double nodeHour() {
        return gpusPerNode * dollarsPerGpuHour;
    }

    /** Dollars for a million input tokens on a prefilling node at its full rate. */
    public double inputCost() {
        return nodeHour() / 3600 / inputPerSecond * 1e6;
    }

    /** Dollars for a million output tokens on a decoding node at its full rate. */
    public double outputCost() {
        return nodeHour() / 3600 / outputPerSecond * 1e6;
    }

    /** Dollars that the day would bring if every token were paid for. */
    public double revenue() {
        return (inputTokens * (hitShare * hitPrice + (1 - hitShare) * missPrice) + outputTokens * outputPrice) / 1e6;
    }

    /** The account, line by line. */
    public List<Line> lines() {
        return List.of(
                new Line(
                        "a day",
                        cost(),
                        "$",
                        "%.2f nodes %.0f GPUs 24 h at $%.2f".formatted(nodes, gpusPerNode, dollarsPerGpuHour)),
                new Line(
                        "input",
                        inputCost(),
                        "$ per 10^6 tokens",
                        "$%.2f an hour / 3600 / %.1fK tokens/s".formatted(nodeHour(), inputPerSecond / 1e3)),
                new Line(
                        "output",
                        outputCost(),
                        "$ per 10^6 tokens",
                        "$%.2f an hour / 3600 / %.1fK tokens/s".formatted(nodeHour(), outputPerSecond / 1e3)),
                new Line(
                        "all on output",
                        cost() / outputTokens * 1e6,
                        "$ per 10^6 tokens",
                        "a day / %.0fB tokens".formatted(outputTokens / 1e9)),
                new Line(
                        "theoretical revenue",
                        revenue(),
                        "$",
                        "%.0fB (%.1f %% at $%.2f, the rest at $%.2f) + %.0fB at $%.2f for 10^6"
                                .formatted(
                                        inputTokens / 1e9,
                                        100 * hitShare,
                                        hitPrice,
                                        missPrice,
                                        outputTokens / 1e9,
                                        outputPrice)),
                new Line("margin", 100 * (revenue() - cost()) / cost(), "%", "(revenue - a day) / a day"));
    }
}
