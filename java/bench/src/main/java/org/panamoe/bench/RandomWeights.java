package org.panamoe.bench;

import static java.lang.foreign.ValueLayout.JAVA_BYTE;
import static java.lang.foreign.ValueLayout.JAVA_LONG_UNALIGNED;

import java.lang.foreign.Arena;
import java.util.HashMap;
import java.util.Objects;
import java.util.SplittableRandom;
import org.panamoe.checkpoint.Checkpoint;
import org.panamoe.checkpoint.ModelConfig;
import org.panamoe.checkpoint.TensorSpec;
import org.panamoe.tensor.DType;
import org.panamoe.tensor.QuantFormat;
import org.panamoe.tensor.Tensor;
import org.panamoe.tensor.Weight;

/**
 * Weights without meaning, fast enough to fill gigabytes: random signs and mantissas under one exponent (FP8: under four,
 * as most codes of a block whose largest is 448), of about the size that a trained matrix of width 7168 has. No NaN, no
 * infinity; the same seed gives the same weights.
 */
public final class RandomWeights {
    private final SplittableRandom random;

    public RandomWeights(long seed) {
        random = new SplittableRandom(seed);
    }

    /** A weight [F, D], or [F] of a format without scales. */
    public Weight weight(Arena arena, QuantFormat format, int... shape) {
        var w = format.scaled()
                ? Weight.allocate(arena, format, shape[0], shape[1])
                : Weight.of(Tensor.allocate(arena, format.stored, longs(shape)));
        fillWeights(format, w.data());
        if (w.scale() != null) fillScales(format, w.scale());
        return w;
    }

    /** Elements as {@code format} stores them; of integers all codes alike. */
    public void fillWeights(QuantFormat format, Tensor data) {
        switch (format) {
            case F32 -> fill(data, 0x807fffff_807fffffL, 0x3c000000_3c000000L); // 2^-7 <= |w| < 2^-6
            case BF16 -> fill(data, 0x807f807f_807f807fL, 0x3c003c00_3c003c00L);
            case F8_E4M3_B128 -> fill(data, 0x9f9f9f9f_9f9f9f9fL, 0x40404040_40404040L); // 2 <= |code| < 32
            case INT8, INT4 -> fill(data, -1, 0);
        }
    }

    /** Scales of {@code format}, under which weights are of the same size in all formats. */
    public void fillScales(QuantFormat format, Tensor scale) {
        switch (format) {
            case F8_E4M3_B128 -> fill(scale, 0x007fffff_007fffffL, 0x3a000000_3a000000L); // from 2^-11 to twice that
            case INT8 -> fill(scale, 0x007f007f_007f007fL, 0x39003900_39003900L); // from 2^-13
            case INT4 -> fill(scale, 0x007f007f_007f007fL, 0x3b003b00_3b003b00L); // from 2^-9
            case F32, BF16 -> throw new IllegalArgumentException(format + " has no scales");
        }
    }

    /**
     * All that a config asks for: in {@code format} what {@link TensorSpec#quantized} says, the rest in BF16, as published
     * checkpoints have it. Lies in {@code arena}.
     */
    public Checkpoint checkpoint(Arena arena, ModelConfig config, QuantFormat format) {
        var weights = new HashMap<String, Weight>();
        for (var spec : TensorSpec.of(config)) {
            int[] shape = spec.shape().stream().mapToInt(Integer::intValue).toArray();
            var stored = Objects.requireNonNullElse(spec.quantized(format), QuantFormat.BF16);
            weights.put(spec.name(), weight(arena, stored, shape));
        }
        return Checkpoint.of(config, weights);
    }

    /** F32 or BF16 activations, 1 <= |x| < 2. */
    public void fill(Tensor x) {
        if (x.dtype == DType.BF16) fill(x, 0x807f807f_807f807fL, 0x3f803f80_3f803f80L);
        else fill(x, 0x807fffff_807fffffL, 0x3f800000_3f800000L);
    }

    /** F32 scores of a gate, 1/2 <= s < 1. */
    public void fillScores(Tensor s) {
        fill(s, 0x007fffff_007fffffL, 0x3f000000_3f000000L);
    }

    /** Each element: random bits where {@code kept} has ones, and the bits of {@code set}. */
    private void fill(Tensor tensor, long kept, long set) {
        var data = tensor.data;
        long whole = data.byteSize() / Long.BYTES * Long.BYTES;
        for (long at = 0; at < whole; at += Long.BYTES)
            data.set(JAVA_LONG_UNALIGNED, at, (random.nextLong() & kept) | set);
        long last = (random.nextLong() & kept) | set;
        for (long at = whole; at < data.byteSize(); at++) {
            data.set(JAVA_BYTE, at, (byte) last);
            last >>>= Byte.SIZE;
        }
    }

    private static long[] longs(int... shape) {
        var longs = new long[shape.length];
        for (int i = 0; i < shape.length; i++) longs[i] = shape[i];
        return longs;
    }
}
