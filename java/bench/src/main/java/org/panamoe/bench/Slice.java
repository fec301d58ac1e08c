package org.panamoe.bench;

import org.jspecify.annotations.Nullable;
import org.panamoe.checkpoint.ModelConfig;
import org.panamoe.checkpoint.ModelConfig.Fp8;
import org.panamoe.checkpoint.ModelConfig.Integers;
import org.panamoe.checkpoint.ModelConfig.Quantization;
import org.panamoe.tensor.QuantFormat;

/**
 * So much of a model as fits the machine: a published shape's widths, with fewer layers, experts and tokens. Any engine
 * can be given the same one.
 *
 * @param layers of which the first {@code dense} have no experts
 * @param experts of each other layer
 * @param format of the projections; the head is INT8 beside integers, the rest is BF16
 */
public record Slice(Shape shape, int layers, int dense, int experts, int vocab, QuantFormat format) {
    /** @throws IllegalArgumentException naming the key of config.json that is out of range */
    public ModelConfig config() {
        return shape.config(layers, dense, experts, vocab, quantization());
    }

    private @Nullable Quantization quantization() {
        if (!format.scaled()) return null;
        return format.integer() ? new Integers(format) : new Fp8("");
    }
}
