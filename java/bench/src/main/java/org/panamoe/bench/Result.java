package org.panamoe.bench;

import org.jspecify.annotations.Nullable;
import tools.jackson.databind.node.JsonNodeFactory;
import tools.jackson.databind.node.ObjectNode;

/** What was measured of one thing with one number of threads. */
public interface Result {
    /** What tells it from other results, under the names of JSON: "name" and its parameters. */
    ObjectNode parameters();

    /** The same for people, but for the threads. */
    String description();

    int threads();

    /** Whether products are of bytes, so that {@link #peak} is that of bytes. */
    boolean integer();

    /** By the wall, of one step or call. */
    Samples samples();

    /** That a step or call must move. */
    double bytes();

    /** That a step or call must do. */
    double flops();

    /** Bytes per second that the machine read with the same threads, measured in between: the median. */
    double bandwidth();

    /** Operations per second, likewise: in fp32, or of bytes. */
    double peak();

    /** Of all threads, over all samples. */
    double cpuSeconds();

    /** Over all samples. */
    double wallSeconds();

    /** In which {@link #speed} tells: "tokens/s", "us". */
    String unit();

    /** What a step or call of so many seconds means, in that unit. */
    double speed(double seconds);

    /** Adds what is known of the speed, in units of its own. */
    void putSpeed(ObjectNode json);

    /** Where the time of a step goes, if that was asked for. */
    default @Nullable Profile profile() {
        return null;
    }

    default double shareOfBandwidth() {
        return bytes() / samples().median() / bandwidth();
    }

    default double shareOfPeak() {
        return flops() / samples().median() / peak();
    }

    default ObjectNode json() {
        var json = JsonNodeFactory.instance.objectNode();
        json.setAll(parameters());
        json.put("threads", threads());
        putSpeed(json);
        json.put("gb_per_second", bytes() / samples().median() / 1e9);
        json.put("share_of_bandwidth", shareOfBandwidth());
        json.put("gflop_per_second", flops() / samples().median() / 1e9);
        json.put("share_of_peak", shareOfPeak());
        json.put("limit_gb_per_second", bandwidth() / 1e9);
        json.put("limit_gflop_per_second", peak() / 1e9);
        json.put("limit", integer() ? "int8" : "fp32");
        json.put("cpu_seconds", cpuSeconds());
        json.put("wall_seconds", wallSeconds());
        var seconds = json.putArray("samples");
        samples().seconds().forEach(seconds::add);
        var profile = profile();
        if (profile != null) {
            json.set("profile", profile.json());
            json.put("empty_call_seconds", profile.emptyCall());
        }
        return json;
    }
}
