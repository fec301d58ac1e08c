package org.panamoe.tensor;

import static java.lang.foreign.ValueLayout.JAVA_BYTE;
import static java.lang.foreign.ValueLayout.JAVA_SHORT_UNALIGNED;

import java.lang.foreign.Arena;
import java.util.Objects;
import java.util.function.UnaryOperator;
import org.jspecify.annotations.Nullable;

/**
 * A matrix [F, D] (or vector [D]) as the checkpoint stores it.
 *
 * @param data elements of the type that {@code format} stores: [F, D], of INT4 [F, ceil(D/2)]
 * @param scale scales of the blocks, of the format's type [ceil(F/blockRows), ceil(D/block)]; null exactly where it has none
 * @param columns D
 */
public record Weight(
        QuantFormat format, Tensor data, @Nullable Tensor scale, int columns) {
    private static final float[] E4M3 = new float[256];

    static {
        for (int code = 0; code < 256; code++) E4M3[code] = e4m3(code);
    }

    public Weight {
        if (data.dtype != format.stored)
            throw new IllegalArgumentException("a weight in %s is %s".formatted(format, data));
        if ((scale != null) != format.scaled())
            throw new IllegalArgumentException(
                    "a weight in %s %s scales".formatted(format, format.scaled() ? "has" : "has no"));
        if (data.rank() > 0 && data.dim(data.rank() - 1) != format.elements(columns))
            throw new IllegalArgumentException(
                    "a weight in %s of %d columns is not %s".formatted(format, columns, data));
        if (scale != null) {
            if (data.rank() != 2
                    || scale.rank() != 2
                    || scale.dtype != format.scales
                    || scale.dim(0) != Math.ceilDiv(data.dim(0), format.blockRows)
                    || scale.dim(1) != Math.ceilDiv(columns, format.block))
                throw new IllegalArgumentException(
                        "a weight %s in %s cannot have scales %s".formatted(data, format, scale));
        }
    }

    /** All weights that {@code data} has room for: an even number in each row of INT4. */
    public Weight(QuantFormat format, Tensor data, @Nullable Tensor scale) {
        this(format, data, scale, data.rank() == 0 ? 1 : data.dim(data.rank() - 1) * format.packed);
    }

    /** A weight in a format without scales: F32 or BF16. */
    public static Weight of(Tensor data) {
        return switch (data.dtype) {
            case F32 -> new Weight(QuantFormat.F32, data, null);
            case BF16 -> new Weight(QuantFormat.BF16, data, null);
            case F8_E4M3, F16, I32, I64, U8, I8 ->
                throw new IllegalArgumentException("no weight format stores " + data);
        };
    }

    /** A weight [F, D] of zero bytes, aligned to 64. */
    public static Weight allocate(Arena arena, QuantFormat format, int F, int D) {
        var data = Tensor.allocate(arena, format.stored, F, format.elements(D));
        var scale = format.scaled()
                ? Tensor.allocate(
                        arena, format.scales, Math.ceilDiv(F, format.blockRows), Math.ceilDiv(D, format.block))
                : null;
        return new Weight(format, data, scale, D);
    }

    /** Bytes of data and scales. */
    public long bytes() {
        return data.bytes() + (scale == null ? 0 : scale.bytes());
    }

    /** The same weight in other memory: {@code copy} gives what takes the place of data and scales. */
    public Weight copied(UnaryOperator<Tensor> copy) {
        return new Weight(format, copy.apply(data), scale == null ? null : copy.apply(scale), columns);
    }

    /** Row f (of a vector: 0), decoded to the fp32 values that the format stands for. */
    public void decode(long f, float[] row_D) {
        int D = columns;
        long from = f * D;
        switch (format) {
            case F32 -> data.getFloats(from, row_D);
            case BF16 -> {
                for (int d = 0; d < D; d++) row_D[d] = Bf16.value(data.data.getAtIndex(JAVA_SHORT_UNALIGNED, from + d));
            }
            case F8_E4M3_B128 -> {
                for (int d = 0; d < D; d++) row_D[d] = E4M3[data.data.get(JAVA_BYTE, from + d) & 0xff] * scale(f, d);
            }
            case INT8, INT4 -> {
                for (int d = 0; d < D; d++) row_D[d] = code(f, d) * scale(f, d);
            }
        }
    }

    /** The code of a weight in an integer format. */
    public int code(long f, int d) {
        if (format == QuantFormat.INT8) return data.data.get(JAVA_BYTE, f * columns + d);
        int both = data.data.get(JAVA_BYTE, f * format.elements(columns) + d / 2);
        return (d % 2 == 0 ? both & 15 : both >> 4 & 15) - 8;
    }

    /** The scale of a weight in a format that has scales. */
    public float scale(long f, int d) {
        var scale = Objects.requireNonNull(scale());
        return scale.getFloat(f / format.blockRows * scale.dim(1) + d / format.block);
    }

    /** "F8_E4M3_B128[576, 7168]", for messages. */
    @Override
    public String toString() {
        var shape = data.toString().substring(data.dtype.name().length());
        return format + (format.packed == 1 ? shape : "[%d, %d]".formatted(data.dim(0), columns));
    }

    /** e4m3: 1 sign, 4 exponent, 3 mantissa bits, bias 7; no infinity, NaN is 0x7f and 0xff. */
    private static float e4m3(int code) {
        int sign = code >> 7, exponent = code >> 3 & 15, mantissa = code & 7;
        if (exponent == 15 && mantissa == 7) return Float.NaN;
        float magnitude = exponent == 0 ? Math.scalb(mantissa, -9) : Math.scalb(8 + mantissa, exponent - 10);
        return sign == 0 ? magnitude : -magnitude;
    }
}
