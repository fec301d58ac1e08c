package org.panamoe.bench.figure;

import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import tools.jackson.databind.JsonNode;

/**
 * One result of a report.
 *
 * @param file the report's name
 * @param parameters what tells it from other results, without its name; as text
 * @param tokens per second; 0 of a kernel
 * @param seconds of a step or call
 * @param roof which rate of the machine limits it: "fp32", "int8"
 */
record Measured(
        String file,
        String name,
        Map<String, String> parameters,
        int threads,
        double tokens,
        double seconds,
        double bytesPerSecond,
        double flopsPerSecond,
        double shareOfBandwidth,
        double shareOfPeak,
        String roof,
        double bandwidth,
        double peak) {
    private static final List<String> PARAMETERS = List.of(
            "shape", "layers", "dense", "experts", "vocab", "sizes", "weights", "rows", "batch", "depth", "prompt",
            "caches", "threads", "isa");

    /** @throws IllegalArgumentException naming what is missing */
    static List<Measured> of(String file, JsonNode report) {
        var results = new ArrayList<Measured>();
        for (var result : report.path("results")) results.add(of(file, results.size(), result));
        if (results.isEmpty()) throw new IllegalArgumentException(file + ": not a report of bench: it has no results");
        return results;
    }

    private static Measured of(String file, int index, JsonNode result) {
        String what = "%s: result %d".formatted(file, index);
        if (!result.path("name").isString()) throw new IllegalArgumentException(what + " has no name");
        var parameters = new LinkedHashMap<String, String>();
        for (String key : PARAMETERS)
            if (result.has(key)) parameters.put(key, result.path(key).asString());
        double tokens = result.has("tokens_per_second") ? number(what, result, "tokens_per_second") : 0;
        return new Measured(
                file,
                result.path("name").asString(),
                parameters,
                (int) number(what, result, "threads"),
                tokens,
                tokens > 0
                        ? number(what, result, "tokens_per_step") / tokens
                        : number(what, result, "seconds_per_call"),
                1e9 * number(what, result, "gb_per_second"),
                1e9 * number(what, result, "gflop_per_second"),
                number(what, result, "share_of_bandwidth"),
                number(what, result, "share_of_peak"),
                result.path("limit").asString("fp32"),
                1e9 * number(what, result, "limit_gb_per_second"),
                1e9 * number(what, result, "limit_gflop_per_second"));
    }

    private static double number(String what, JsonNode result, String key) {
        if (!result.path(key).isNumber()) throw new IllegalArgumentException(what + " has no number " + key);
        return result.path(key).asDouble();
    }

    /** Operations for each byte that it must move. */
    double intensity() {
        return flopsPerSecond / bytesPerSecond;
    }

    String parameter(String key) {
        return parameters.getOrDefault(key, "");
    }
}
