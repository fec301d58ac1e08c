package org.panamoe.bench;

import org.jspecify.annotations.Nullable;
import org.panamoe.checkpoint.Footprint;
import org.panamoe.tensor.DType;
import tools.jackson.databind.node.JsonNodeFactory;
import tools.jackson.databind.node.ObjectNode;

/**
 * What was measured of one piece of work.
 *
 * @param samples of one step
 * @param bytes of one step, see {@link Work#bytes}: the mean over steps
 * @param flops of one step
 * @param profile null unless the kernels were timed, too
 */
public record ModelResult(
        Slice slice,
        Work work,
        int threads,
        Samples samples,
        double bytes,
        double flops,
        double bandwidth,
        double peak,
        double cpuSeconds,
        @Nullable Profile profile)
        implements Result {
    @Override
    public ObjectNode parameters() {
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
        json.put("parameters", Footprint.of(slice.config(), DType.BF16).parameters());
        return json;
    }

    @Override
    public String description() {
        return work.description();
    }

    @Override
    public boolean integer() {
        return slice.format().integer();
    }

    @Override
    public double wallSeconds() {
        return samples.seconds().stream().mapToDouble(Double::doubleValue).sum();
    }

    @Override
    public String unit() {
        return "tokens/s";
    }

    /** Tokens per second: those that are decoded, or of the prompt. */
    @Override
    public double speed(double seconds) {
        return work.rows() / seconds;
    }

    @Override
    public void putSpeed(ObjectNode json) {
        json.put("tokens_per_second", speed(samples.median()));
        json.put("tokens_per_second_low", speed(samples.high()));
        json.put("tokens_per_second_high", speed(samples.low()));
        json.put("tokens_per_step", work.rows());
    }
}
