package org.panamoe.bench;

import java.util.ArrayList;
import java.util.List;
import java.util.stream.StreamSupport;
import tools.jackson.databind.JsonNode;

/**
 * Two runs' results side by side, judged by the intervals of their medians: what their noise explains is no change.
 *
 * @param unit of first and other: "tokens/s", of kernels "calls/s"
 * @param ratio the other run's by the first one's
 * @param low of the ratio, if both medians lie where their intervals make it lowest
 * @param enough samples of both, without which nothing is judged
 */
public record Comparison(
        String what, String unit, double first, double other, double ratio, double low, double high, boolean enough) {
    private static final List<String> PARAMETERS = List.of(
            "name", "shape", "layers", "dense", "experts", "vocab", "sizes", "weights", "rows", "batch", "depth",
            "prompt", "caches", "threads", "isa");

    /** Slower by more than {@code share} (0.05 is 5 %), whatever lies in the intervals. */
    public boolean slower(double share) {
        return enough && high < 1 - share;
    }

    public String verdict() {
        if (!enough) return "too few samples";
        return high < 1 ? "slower" : low > 1 ? "faster" : "no change shown";
    }

    /**
     * Every result of {@code first} that {@code other} has, too.
     *
     * @throws IllegalArgumentException if a report is none, if they have nothing in common, or, unless {@code anyMachine},
     *     if they are of different machines
     */
    public static List<Comparison> of(JsonNode first, JsonNode other, boolean anyMachine) {
        if (!anyMachine)
            for (var key : List.of("cpu", "processors")) {
                var a = first.path("machine").path(key).asString();
                var b = other.path("machine").path(key).asString();
                if (!a.equals(b))
                    throw new IllegalArgumentException("different machines: %s is %s and %s".formatted(key, a, b));
            }
        var found = new ArrayList<Comparison>();
        for (var a : results(first))
            for (var b : results(other)) if (parameters(a).equals(parameters(b))) found.add(of(a, b));
        if (found.isEmpty()) throw new IllegalArgumentException("the two reports have no result in common");
        return List.copyOf(found);
    }

    private static Comparison of(JsonNode a, JsonNode b) {
        boolean tokens = a.has("tokens_per_step");
        double rows = tokens ? a.path("tokens_per_step").asDouble() : 1;
        Samples first = samples(a), other = samples(b);
        return new Comparison(
                String.join(" ", parameters(a)),
                tokens ? "tokens/s" : "calls/s",
                rows / first.median(),
                rows / other.median(),
                first.median() / other.median(),
                first.low() / other.high(),
                first.high() / other.low(),
                first.enough() && other.enough());
    }

    private static List<JsonNode> results(JsonNode report) {
        if (!report.path("results").isArray())
            throw new IllegalArgumentException("not a report of bench: it has no results");
        return StreamSupport.stream(report.path("results").spliterator(), false).toList();
    }

    private static Samples samples(JsonNode result) {
        var seconds = new ArrayList<Double>();
        for (var sample : result.path("samples")) {
            if (!sample.isNumber() || !(sample.asDouble() > 0))
                throw new IllegalArgumentException("%s: a sample is %s".formatted(parameters(result), sample));
            seconds.add(sample.asDouble());
        }
        if (seconds.isEmpty()) throw new IllegalArgumentException("%s: no samples".formatted(parameters(result)));
        return new Samples(seconds);
    }

    private static List<String> parameters(JsonNode result) {
        return PARAMETERS.stream()
                .filter(result::has)
                .map(key -> key.equals("name")
                        ? result.path(key).asString()
                        : key + "=" + result.path(key).asString())
                .toList();
    }
}
