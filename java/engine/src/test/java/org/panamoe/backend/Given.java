package org.panamoe.backend;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.ArrayList;
import java.util.List;
import java.util.Objects;
import java.util.SplittableRandom;
import java.util.function.IntUnaryOperator;
import org.panamoe.tensor.DType;
import org.panamoe.tensor.QuantFormat;
import org.panamoe.tensor.Tensor;
import org.panamoe.tensor.Weight;

/** Makes random tensors of the host, the same for the same seed; everything has both signs. */
final class Given {
    final Arena arena;
    final SplittableRandom random;

    Given(Arena arena, long seed) {
        this.arena = arena;
        random = new SplittableRandom(seed);
    }

    /** Uniform in [-scale, scale). */
    Tensor floats(float scale, long... shape) {
        var tensor = Tensor.allocate(arena, DType.F32, shape);
        for (long i = 0; i < tensor.size(); i++) tensor.setFloat(i, scale * (2 * random.nextFloat() - 1));
        return tensor;
    }

    Tensor ints(int n, IntUnaryOperator value) {
        var tensor = Tensor.allocate(arena, DType.I32, n);
        for (int i = 0; i < n; i++) tensor.setInt(i, value.applyAsInt(i));
        return tensor;
    }

    /** Data and scales both lie at odd addresses, as in a checkpoint. */
    Weight weight(QuantFormat format, long... shape) {
        if (format.integer()) return integers(format, (int) shape[0], (int) shape[1]);
        var data = new Tensor(odd(Tensor.bytes(format.stored, shape)), format.stored, shape);
        for (long i = 0; i < data.size(); i++) {
            switch (format) {
                case F32 -> data.setFloat(i, 2 * random.nextFloat() - 1);
                case BF16 ->
                    data.data.setAtIndex(ValueLayout.JAVA_SHORT_UNALIGNED, i, bf16(2 * random.nextFloat() - 1));
                case F8_E4M3_B128 -> data.data.set(ValueLayout.JAVA_BYTE, i, e4m3());
                case INT8, INT4 -> throw new AssertionError(format);
            }
        }
        if (!format.scaled()) return new Weight(format, data, null);
        long rows = Math.ceilDiv(shape[0], format.blockRows), columns = Math.ceilDiv(shape[1], format.block);
        var scale = new Tensor(odd(rows * columns * format.scales.bytes), format.scales, rows, columns);
        // Codes reach 448, so with these scales weights are about 1. A scale of either sign is a number like any other.
        for (long i = 0; i < scale.size(); i++)
            scale.setFloat(i, (i % 5 == 4 ? -1 : 1) * (0.5f + random.nextFloat()) / 256);
        return new Weight(format, data, scale);
    }

    /** All bits of the codes are random: -128, which no quantiser makes, is a number like any other. */
    private Weight integers(QuantFormat format, int F, int D) {
        var w = Weight.allocate(arena, format, F, D).copied(tensor -> {
            long[] shape = {tensor.dim(0), tensor.dim(1)};
            return new Tensor(odd(tensor.bytes()), tensor.dtype, shape);
        });
        for (long i = 0; i < w.data().size(); i++)
            w.data().data.set(ValueLayout.JAVA_BYTE, i, (byte) random.nextInt(256));
        var scale = Objects.requireNonNull(w.scale());
        float size = format == QuantFormat.INT8 ? 128 : 8;
        for (long i = 0; i < scale.size(); i++)
            scale.setFloat(i, (i % 5 == 4 ? -1 : 1) * (0.5f + random.nextFloat()) / size);
        return w;
    }

    /** E matrices; their memory has one owner. */
    List<Weight> weights(QuantFormat format, int E, long F, long D) {
        var weights = new ArrayList<Weight>();
        for (int e = 0; e < E; e++) weights.add(weight(format, F, D));
        return weights;
    }

    /** Tables of S positions for R values: plain rope with theta 10000. */
    Rope rope(int S, int R) {
        int Z = R / 2;
        Tensor cos_SZ = Tensor.allocate(arena, DType.F32, S, Z), sin_SZ = Tensor.allocate(arena, DType.F32, S, Z);
        for (int i = 0; i < S * Z; i++) {
            int position = i / Z;
            double angle = position * Math.pow(10000, -2.0 * (i % Z) / R);
            cos_SZ.setFloat(i, (float) Math.cos(angle));
            sin_SZ.setFloat(i, (float) Math.sin(angle));
        }
        return new Rope(cos_SZ, sin_SZ);
    }

    static short bf16(float value) {
        return (short) (Float.floatToRawIntBits(value) >>> 16);
    }

    /** The same in BF16, each value rounded. */
    static Tensor inBf16(Arena arena, Tensor from) {
        var to = Tensor.allocate(arena, DType.BF16, from.dim(0), from.dim(1), from.dim(2));
        for (long i = 0; i < from.size(); i++) to.setFloat(i, from.getFloat(i));
        return to;
    }

    private byte e4m3() {
        int code = random.nextInt(256);
        return (byte) ((code & 0x7f) == 0x7f ? code - 1 : code); // no NaN
    }

    private MemorySegment odd(long bytes) {
        return arena.allocate(bytes + 1, 64).asSlice(1);
    }
}
