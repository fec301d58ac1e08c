package org.panamoe.model;

import java.lang.foreign.Arena;
import org.jspecify.annotations.Nullable;
import org.panamoe.backend.Kernels;
import org.panamoe.backend.Rope;
import org.panamoe.checkpoint.ModelConfig;
import org.panamoe.checkpoint.ModelConfig.Yarn;
import org.panamoe.tensor.DType;
import org.panamoe.tensor.Tensor;

/**
 * Rotary positions, plain or YaRN (Peng et al., 2023): the angle of each pair of channels at each position, and the scale
 * of attention scores that belongs to them.
 *
 * <p>Frequencies, angles and tables are rounded to fp32 step by step, as all published implementations do; at position
 * 163839 that rounding is 1.6e-3 in a cosine, so it is part of the model.
 */
final class Rotary {
    /** Angle of pair z for one step of position. */
    final float[] frequency_Z;

    /** Factor on both cosines and sines, that is on the rotated parts of queries and keys; 1 in all published models. */
    final float gain;

    /** What q * k is multiplied with before the softmax. */
    final float softmaxScale;

    Rotary(ModelConfig config) {
        int R = config.qkRopeHeadDim();
        float scale = (float) (1 / Math.sqrt(config.qkNopeHeadDim() + (double) R));
        var yarn = config.ropeScaling();
        frequency_Z = frequencies(config.ropeTheta(), R, yarn);
        if (yarn == null) {
            gain = 1;
            softmaxScale = scale;
        } else {
            double all = magnitude(yarn.factor(), yarn.mscaleAllDim());
            float mscale = yarn.mscale() == 0 ? 1 : yarn.mscale(); // 0 is as if absent
            gain = (float) (magnitude(yarn.factor(), mscale) / all);
            softmaxScale = (float) (scale * all * all);
        }
    }

    /** Tables for positions [0, positions). */
    Rope tables(Kernels kernels, Arena arena, int positions) {
        int Z = frequency_Z.length;
        var cos_SZ = kernels.allocate(arena, DType.F32, positions, Z);
        var sin_SZ = kernels.allocate(arena, DType.F32, positions, Z);
        try (var local = Arena.ofConfined()) {
            var cosine = Tensor.allocate(local, DType.F32, positions, Z);
            var sine = Tensor.allocate(local, DType.F32, positions, Z);
            for (int p = 0; p < positions; p++)
                for (int z = 0; z < Z; z++) {
                    float angle = p * frequency_Z[z];
                    cosine.setFloat((long) p * Z + z, (float) Math.cos(angle) * gain);
                    sine.setFloat((long) p * Z + z, (float) Math.sin(angle) * gain);
                }
            kernels.copy(cos_SZ, cosine);
            kernels.copy(sin_SZ, sine);
        }
        return new Rope(cos_SZ, sin_SZ);
    }

    private static float[] frequencies(float theta, int R, @Nullable Yarn yarn) {
        float[] frequency_Z = new float[R / 2];
        for (int z = 0; z < R / 2; z++) {
            float period = (float) Math.pow(theta, (float) (2 * z) / R);
            frequency_Z[z] = 1 / period;
            if (yarn != null) {
                // Fast pairs turn as they were trained, slow ones are interpolated, a ramp lies between.
                double low = Math.max(Math.floor(pairOf(yarn.betaFast(), theta, R, yarn)), 0);
                double high = Math.min(Math.ceil(pairOf(yarn.betaSlow(), theta, R, yarn)), R - 1); // not R / 2 - 1
                if (low == high) high += 0.001;
                float ramp = Math.clamp((float) ((z - low) / (high - low)), 0f, 1f);
                frequency_Z[z] = 1 / (yarn.factor() * period) * ramp + 1 / period * (1 - ramp);
            }
        }
        return frequency_Z;
    }

    /** The pair (not rounded) that makes this many turns within the original context. */
    private static double pairOf(float turns, float theta, int R, Yarn yarn) {
        return R * Math.log(yarn.originalMaxPositionEmbeddings() / (turns * 2 * Math.PI)) / (2 * Math.log(theta));
    }

    private static double magnitude(float factor, float mscale) {
        return factor <= 1 ? 1 : 0.1 * mscale * Math.log(factor) + 1;
    }
}
