package org.panamoe.tensor;

/** What one element is. */
public enum DType {
    F32(4),
    BF16(2),
    /** 1 sign, 4 exponent (bias 7), 3 mantissa bits; no infinity; NaN is 0x7f and 0xff. */
    F8_E4M3(1),
    F16(2),
    I32(4),
    /** Also holds addresses. */
    I64(8),
    U8(1),
    I8(1);

    /** Size of one element. */
    public final int bytes;

    DType(int bytes) {
        this.bytes = bytes;
    }
}
