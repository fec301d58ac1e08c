package org.panamoe.tensor;

import org.jspecify.annotations.Nullable;

/**
 * A matrix [F, D] (or vector [D]) as the checkpoint stores it.
 *
 * @param data elements of the type that {@code format} stores
 * @param scale block scales, F32 [ceil(F/block), ceil(D/block)]; null exactly where the format has none
 */
public record Weight(
        QuantFormat format, Tensor data, @Nullable Tensor scale) {
    public Weight {
        if (data.dtype != format.stored)
            throw new IllegalArgumentException("a weight in %s is %s".formatted(format, data));
        if ((scale != null) != format.scaled())
            throw new IllegalArgumentException(
                    "a weight in %s %s scales".formatted(format, format.scaled() ? "has" : "has no"));
        if (scale != null) {
            if (data.rank() != 2
                    || scale.rank() != 2
                    || scale.dtype != DType.F32
                    || scale.dim(0) != blocks(data.dim(0), format.block)
                    || scale.dim(1) != blocks(data.dim(1), format.block))
                throw new IllegalArgumentException(
                        "a weight %s in %s cannot have scales %s".formatted(data, format, scale));
        }
    }

    /** A weight in a format without scales: F32 or BF16. */
    public static Weight of(Tensor data) {
        return switch (data.dtype) {
            case F32 -> new Weight(QuantFormat.F32, data, null);
            case BF16 -> new Weight(QuantFormat.BF16, data, null);
            case F8_E4M3, F16, I32, I64, U8 -> throw new IllegalArgumentException("no weight format stores " + data);
        };
    }

    /** Bytes of data and scales. */
    public long bytes() {
        return data.bytes() + (scale == null ? 0 : scale.bytes());
    }

    /** "F8_E4M3_B128[576, 7168]", for messages. */
    @Override
    public String toString() {
        return format + data.toString().substring(data.dtype.name().length());
    }

    private static int blocks(int size, int block) {
        return Math.ceilDiv(size, block);
    }
}
