package org.panamoe.tensor;

/** BF16: the upper half of an fp32. */
public final class Bf16 {
    private Bf16() {}

    /** The nearest, ties to even. */
    public static short of(float value) {
        int bits = Float.floatToRawIntBits(value);
        return Float.isNaN(value) ? 0x7fff : (short) ((bits + 0x7fff + ((bits >>> 16) & 1)) >>> 16);
    }

    public static float value(short bits) {
        return Float.intBitsToFloat(bits << 16);
    }
}
