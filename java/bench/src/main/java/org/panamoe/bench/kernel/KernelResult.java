package org.panamoe.bench.kernel;

import org.panamoe.bench.Result;
import org.panamoe.bench.Samples;
import org.panamoe.bench.Shape;
import org.panamoe.bench.WeightFormats;
import tools.jackson.databind.node.JsonNodeFactory;
import tools.jackson.databind.node.ObjectNode;

/**
 * What was measured of one call.
 *
 * @param isa instruction set
 * @param samples of one call: each the mean of {@code calls} in a row
 * @param cpuSamples the same by the time of all threads; each list is sorted by itself
 */
public record KernelResult(
        Shape shape,
        KernelWork work,
        Caches caches,
        int threads,
        String isa,
        int calls,
        Samples samples,
        Samples cpuSamples,
        double bandwidth,
        double peak)
        implements Result {
    @Override
    public ObjectNode parameters() {
        var json = JsonNodeFactory.instance.objectNode();
        json.put("name", work.function());
        json.put("shape", shape.toString());
        json.put("sizes", work.sizes());
        var format = work.format();
        if (format != null) json.put("weights", WeightFormats.name(format));
        json.put("rows", work.rows());
        if (work.depth() > 0) json.put("depth", work.depth());
        json.put("caches", caches.toString());
        json.put("isa", isa);
        return json;
    }

    @Override
    public String description() {
        var format = work.format();
        return "%s %s%s, %d %s%s, %s"
                .formatted(
                        work.function(),
                        format == null ? "" : WeightFormats.name(format) + " ",
                        work.sizes(),
                        work.rows(),
                        work.rows() == 1 ? "row" : "rows",
                        work.depth() == 0 ? "" : " at " + work.depth(),
                        caches);
    }

    @Override
    public boolean integer() {
        return work.integer();
    }

    @Override
    public double bytes() {
        return work.bytes();
    }

    @Override
    public double flops() {
        return work.flops();
    }

    @Override
    public double cpuSeconds() {
        return calls * sum(cpuSamples);
    }

    @Override
    public double wallSeconds() {
        return calls * sum(samples);
    }

    @Override
    public String unit() {
        return "us";
    }

    /** Microseconds of one call. */
    @Override
    public double speed(double seconds) {
        return 1e6 * seconds;
    }

    @Override
    public void putSpeed(ObjectNode json) {
        json.put("seconds_per_call", samples.median());
        json.put("seconds_per_call_low", samples.low());
        json.put("seconds_per_call_high", samples.high());
        json.put("cpu_seconds_per_call", cpuSamples.median());
        json.put("calls_per_sample", calls);
        var each = json.putArray("cpu_samples");
        cpuSamples.seconds().forEach(each::add);
    }

    private static double sum(Samples samples) {
        return samples.seconds().stream().mapToDouble(Double::doubleValue).sum();
    }
}
