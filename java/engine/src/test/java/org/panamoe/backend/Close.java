package org.panamoe.backend;

import static org.assertj.core.api.Assertions.fail;

/** Compares rows of floats with what they should be. */
final class Close {
    private Close() {}

    /** fp32 in and out: 1e-5 of the row's rms; rounding of a sum over D grows with sqrt(D). */
    static double fp32(int D) {
        return 1e-5 * Math.max(1, Math.sqrt(D / 1024.0));
    }

    /**
     * NaN and infinities first: they must be where they should be. Then no value may be further off than {@code tolerance}
     * times the rms of its row.
     *
     * @param row length of a row
     * @param least the least rms to count with: that of a row is no measure of rounding where the row is short, or
     *     where its sums cancel
     */
    static void assertClose(Object what, float[] expected, float[] actual, int row, double tolerance, double least) {
        if (expected.length != actual.length) fail("%s: %d values instead of %d", what, actual.length, expected.length);
        for (int i = 0; i < expected.length; i++)
            if (Float.isFinite(expected[i]) ? !Float.isFinite(actual[i]) : Float.compare(expected[i], actual[i]) != 0)
                fail("%s: row %d, value %d is %s instead of %s", what, i / row, i % row, actual[i], expected[i]);
        for (int from = 0; from < expected.length; from += row) {
            double squares = 0;
            int finite = 0;
            for (int i = from; i < from + row; i++) {
                if (!Float.isFinite(expected[i])) continue;
                squares += (double) expected[i] * expected[i];
                finite++;
            }
            double rms = Math.max(least, Math.sqrt(squares / Math.max(1, finite)));
            for (int i = from; i < from + row; i++)
                if (Float.isFinite(expected[i]) && Math.abs((double) actual[i] - expected[i]) > tolerance * rms)
                    fail(
                            "%s: row %d, value %d is %s instead of %s: off by %.2e of the rms %.3g, allowed %.2e",
                            what,
                            from / row,
                            i - from,
                            actual[i],
                            expected[i],
                            Math.abs((double) actual[i] - expected[i]) / rms,
                            rms,
                            tolerance);
        }
    }

    /** Equal bit for bit; all NaN are one. */
    static void assertSame(Object what, float[] expected, float[] actual) {
        if (expected.length != actual.length) fail("%s: %d values instead of %d", what, actual.length, expected.length);
        for (int i = 0; i < expected.length; i++)
            if (Float.floatToIntBits(expected[i]) != Float.floatToIntBits(actual[i]))
                fail("%s: value %d is %s instead of %s", what, i, actual[i], expected[i]);
    }
}
