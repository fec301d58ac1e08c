package org.panamoe.bench;

import tools.jackson.databind.node.JsonNodeFactory;
import tools.jackson.databind.node.ObjectNode;

/**
 * What was measured of one piece of work.
 *
 * @param samples of one step
 * @param bytes of one step, see {@link Work#bytes}: the mean over steps
 * @param flops of one step
 * @param bandwidth bytes per second that the machine read with the same threads, measured between the steps: the median
 * @param peak operations per second, likewise: in fp32, or of bytes where projections are integers
 * @param cpuSeconds of all threads, over all steps
 */
public record Result(
        Slice slice,
        Work work,
        int threads,
        Samples samples,
        double bytes,
        double flops,
        double bandwidth,
        double peak,
        double cpuSeconds) {
    /** Tokens that are decoded, or of the prompt. */
    public double tokensPerSecond() {
        return work.rows() / samples.median();
    }

    public double shareOfBandwidth() {
        return bytes / samples.median() / bandwidth;
    }

    public double shareOfPeak() {
        return flops / samples.median() / peak;
    }

    public ObjectNode json() {
        var json = JsonNodeFactory.instance.objectNode();
        json.put("name", work.toString());
        json.put("shape", slice.shape().toString());
        json.put("layers", slice.layers());
        json.put("dense", slice.dense());
        json.put("experts", slice.experts());
        json.put("vocab", slice.vocab());
        json.put("weights", WeightFormats.name(slice.format()));
        json.put("batch", work.batch());
        switch (work) {
            case Work.Decode decode -> json.put("depth", decode.depth());
            case Work.Prefill prefill -> json.put("prompt", prefill.prompt());
        }
        json.put("threads", threads);
        json.put("tokens_per_second", tokensPerSecond());
        json.put("tokens_per_second_low", work.rows() / samples.high());
        json.put("tokens_per_second_high", work.rows() / samples.low());
        json.put("gb_per_second", bytes / samples.median() / 1e9);
        json.put("share_of_bandwidth", shareOfBandwidth());
        json.put("gflop_per_second", flops / samples.median() / 1e9);
        json.put("share_of_peak", shareOfPeak());
        json.put("limit_gb_per_second", bandwidth / 1e9);
        json.put("limit_gflop_per_second", peak / 1e9);
        json.put("limit", slice.format().integer() ? "int8" : "fp32");
        json.put("tokens_per_step", work.rows());
        json.put("cpu_seconds", cpuSeconds);
        json.put(
                "wall_seconds",
                samples.seconds().stream().mapToDouble(Double::doubleValue).sum());
        var seconds = json.putArray("samples");
        samples.seconds().forEach(seconds::add);
        return json;
    }
}
