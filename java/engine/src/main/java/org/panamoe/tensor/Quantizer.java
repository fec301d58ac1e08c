package org.panamoe.tensor;

import static java.lang.foreign.ValueLayout.JAVA_BYTE;

import java.lang.foreign.Arena;
import java.util.Objects;

/**
 * Makes weights of an integer format of others. Code: w / scale, rounded to the nearest, ties to even, and cut off at the
 * smallest and the largest code. Of a few scales, each a BF16, a group has the one with the least squared error, the first
 * of equals. INT8: the two next to its largest magnitude / 127, the larger one first. INT4: those nearest to its value of
 * the largest magnitude, the first of equals, / each of {@link #INT4_TRIES}: of either sign, so that this value has the
 * code -8, which has no counterpart. A code is a large step there: a smaller scale cuts the largest values off and may be
 * nearer to all others. No integer stands for a NaN or an infinity.
 */
public final class Quantizer {
    /** What the value of the largest magnitude is in steps, before it is rounded. */
    private static final float[] INT4_TRIES = {-8, -8.4f, -8.8f, -9.3f, -7.6f};

    private final Weight to;
    private final boolean wide;
    private final int least, most;
    private final float[] tries;
    private final float[] row_D;
    private final int[] code_D;

    private Quantizer(Weight to) {
        this.to = to;
        wide = to.format() == QuantFormat.INT8;
        least = wide ? -127 : -8;
        most = wide ? 127 : 7;
        tries = new float[wide ? 2 : INT4_TRIES.length];
        row_D = new float[to.columns()];
        code_D = new int[to.columns()];
    }

    /**
     * A matrix in another format.
     *
     * @throws IllegalArgumentException if there is a NaN or an infinity
     */
    public static Weight quantize(Arena arena, Weight from, QuantFormat format) {
        if (from.data().rank() != 2 || from.data().onDevice())
            throw new IllegalArgumentException(
                    "%s is no matrix of the host: it cannot become %s".formatted(from, format));
        var to = Weight.allocate(arena, format, from.data().dim(0), from.columns());
        quantize(from, to, 0, from.data().dim(0));
        return to;
    }

    /** Rows [f, end): several threads may each make some of them, where the memory of both is theirs to use. */
    public static void quantize(Weight from, Weight to, int f, int end) {
        if (!to.format().integer()
                || from.columns() != to.columns()
                || from.data().dim(0) != to.data().dim(0))
            throw new IllegalArgumentException("%s cannot become %s".formatted(from, to));
        var quantizer = new Quantizer(to);
        for (; f < end; f++) {
            from.decode(f, quantizer.row_D);
            quantizer.row(f);
        }
    }

    private void row(long f) {
        int D = to.columns(), group = to.format().block;
        var scale = Objects.requireNonNull(to.scale());
        for (int d = 0, g = 0; d < D; d += group, g++)
            scale.setFloat(f * scale.dim(1) + g, group(d, Math.min(D, d + group)));
        var bytes = to.data().data;
        if (wide) {
            for (int d = 0; d < D; d++) bytes.set(JAVA_BYTE, f * D + d, (byte) code_D[d]);
        } else {
            long at = f * to.format().elements(D);
            for (int d = 0; d < D; d += 2) {
                int odd = d + 1 < D ? code_D[d + 1] : 0;
                bytes.set(JAVA_BYTE, at + d / 2, (byte) ((code_D[d] + 8) | ((odd + 8) << 4)));
            }
        }
    }

    /** Codes of columns [from, to); their scale. */
    private float group(int from, int to) {
        float amax = 0, largest = 0;
        for (int d = from; d < to; d++) {
            float size = Math.abs(row_D[d]);
            if (size > amax) largest = row_D[d];
            amax = Math.max(amax, size); // NaN wins
        }
        if (!Float.isFinite(amax))
            throw new IllegalArgumentException("there is a NaN or an infinity, for which no integer stands");
        chooseTries(largest);
        float best = 0;
        double smallest = Double.POSITIVE_INFINITY;
        for (float scale : tries) {
            double error = 0;
            for (int d = from; d < to; d++) {
                double miss = code(row_D[d], scale) * scale - row_D[d];
                error += miss * miss;
            }
            if (error < smallest) {
                smallest = error;
                best = scale;
            }
        }
        for (int d = from; d < to; d++) code_D[d] = code(row_D[d], best);
        return best;
    }

    /** The scales to try where this value has the largest magnitude. */
    private void chooseTries(float largest) {
        if (wide) {
            int bits = Float.floatToRawIntBits(Math.abs(largest) / most);
            tries[0] = Float.intBitsToFloat(bits + 0xffff & ~0xffff);
            tries[1] = Float.intBitsToFloat(bits & ~0xffff);
        } else
            for (int i = 0; i < tries.length; i++)
                tries[i] = Bf16.value(Bf16.of(largest / INT4_TRIES[i])) + 0f; // -0 is 0
    }

    private int code(float w, float scale) {
        return scale == 0 ? 0 : Math.clamp((int) Math.rint(w / scale), least, most);
    }
}
