package org.panamoe.tensor;

import static java.lang.foreign.ValueLayout.JAVA_BYTE;

import java.lang.foreign.Arena;
import java.util.Objects;

/**
 * Makes weights of an integer format of others. A group's scale is such that its largest magnitude has the largest code;
 * for INT4, where a code is a large step, smaller scales are tried too, which cut the largest values off and are nearer to
 * all others: of five scales the one with the least squared error, the largest of equals. Code: w / scale, rounded to the
 * nearest, ties to even. No integer stands for a NaN or an infinity.
 */
public final class Quantizer {
    /** By what the scale that no code exceeds is multiplied. */
    private static final float[] INT8_TRIES = {1}, INT4_TRIES = {1, 0.95f, 0.9f, 0.85f, 0.8f};

    private final Weight to;
    private final int most;
    private final float[] tries;
    private final float[] row_D;
    private final int[] code_D;

    private Quantizer(Weight to) {
        this.to = to;
        boolean wide = to.format() == QuantFormat.INT8;
        most = wide ? 127 : 7;
        tries = wide ? INT8_TRIES : INT4_TRIES;
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
        if (to.format() == QuantFormat.INT8) {
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
        float amax = 0;
        for (int d = from; d < to; d++) amax = Math.max(amax, Math.abs(row_D[d])); // NaN wins
        if (!Float.isFinite(amax))
            throw new IllegalArgumentException("there is a NaN or an infinity, for which no integer stands");
        float best = 0;
        double least = Double.POSITIVE_INFINITY;
        for (float part : tries) {
            float scale = amax / most * part;
            double error = 0;
            for (int d = from; d < to; d++) {
                double miss = code(row_D[d], scale) * scale - row_D[d];
                error += miss * miss;
            }
            if (error < least) {
                least = error;
                best = scale;
            }
        }
        for (int d = from; d < to; d++) code_D[d] = code(row_D[d], best);
        return best;
    }

    private int code(float w, float scale) {
        return scale == 0 ? 0 : Math.clamp((int) Math.rint(w / scale), -most, most);
    }
}
