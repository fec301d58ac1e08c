package org.panamoe.tensor;

import static java.lang.foreign.ValueLayout.JAVA_FLOAT_UNALIGNED;
import static java.lang.foreign.ValueLayout.JAVA_INT_UNALIGNED;
import static java.lang.foreign.ValueLayout.JAVA_SHORT_UNALIGNED;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.util.Arrays;

/**
 * A dense, row-major view of memory that someone else owns.
 *
 * <p>Device memory is a segment of zero length: Java can pass it on, and every attempt to read it throws. Memory on the
 * host may have any alignment, so it is read and written through the {@code _UNALIGNED} layouts.
 */
public final class Tensor {
    public final MemorySegment data;
    public final DType dtype;
    private final long[] shape;
    private final long bytes;

    /** @throws IllegalArgumentException if a size is negative or {@code data} is shorter than the shape needs */
    public Tensor(MemorySegment data, DType dtype, long... shape) {
        this.data = data;
        this.dtype = dtype;
        this.shape = shape.clone();
        this.bytes = bytes(dtype, shape);
        if (!onDevice() && data.byteSize() < bytes)
            throw new IllegalArgumentException(
                    "%s takes %d bytes, the segment has %d".formatted(this, bytes, data.byteSize()));
    }

    /** Memory of the host, aligned to 64 bytes, zeroed; freed when {@code arena} closes. */
    public static Tensor allocate(Arena arena, DType dtype, long... shape) {
        return new Tensor(arena.allocate(bytes(dtype, shape), 64), dtype, shape);
    }

    public static Tensor of(Arena arena, float... values) {
        var tensor = allocate(arena, DType.F32, values.length);
        MemorySegment.copy(values, 0, tensor.data, JAVA_FLOAT_UNALIGNED, 0, values.length);
        return tensor;
    }

    public static Tensor of(Arena arena, int... values) {
        var tensor = allocate(arena, DType.I32, values.length);
        MemorySegment.copy(values, 0, tensor.data, JAVA_INT_UNALIGNED, 0, values.length);
        return tensor;
    }

    /** Number of dimensions. */
    public int rank() {
        return shape.length;
    }

    /** @throws ArithmeticException if the size does not fit an int; no size that crosses the boundary may exceed it */
    public int dim(int i) {
        int size = (int) shape[i];
        if (size != shape[i]) throw new ArithmeticException(this + " has a size beyond int");
        return size;
    }

    /** Number of elements. */
    public long size() {
        return bytes / dtype.bytes;
    }

    /** Size of all elements. */
    public long bytes() {
        return bytes;
    }

    /** Whether only a device can read this. */
    public boolean onDevice() {
        return data.isNative() && data.byteSize() == 0 && bytes != 0;
    }

    /** Rows [from, to) of the first dimension, the same memory. */
    public Tensor rows(long from, long to) {
        if (from < 0 || to < from || to > shape[0])
            throw new IndexOutOfBoundsException("rows [%d, %d) of %s".formatted(from, to, this));
        long[] part = shape.clone();
        part[0] = to - from;
        long row = shape[0] == 0 ? 0 : bytes / shape[0];
        // Device memory stays a zero-length segment of the same owner: only its address moves.
        var segment = onDevice()
                ? data.reinterpret(bytes).asSlice(from * row, 0)
                : data.asSlice(from * row, (to - from) * row);
        return new Tensor(segment, dtype, part);
    }

    /** The same memory with another shape of the same size. */
    public Tensor as(long... other) {
        if (bytes(dtype, other) != bytes)
            throw new IllegalArgumentException("%s is not %s%s".formatted(this, dtype, Arrays.toString(other)));
        return new Tensor(data, dtype, other);
    }

    /** An element of F32 or BF16. */
    public float getFloat(long i) {
        return dtype == DType.BF16
                ? Bf16.value(data.getAtIndex(JAVA_SHORT_UNALIGNED, i))
                : data.getAtIndex(JAVA_FLOAT_UNALIGNED, i);
    }

    /** Sets an element of F32, or one of BF16 to the nearest, ties to even. */
    public void setFloat(long i, float value) {
        if (dtype == DType.BF16) data.setAtIndex(JAVA_SHORT_UNALIGNED, i, Bf16.of(value));
        else data.setAtIndex(JAVA_FLOAT_UNALIGNED, i, value);
    }

    public int getInt(long i) {
        return data.getAtIndex(JAVA_INT_UNALIGNED, i);
    }

    public void setInt(long i, int value) {
        data.setAtIndex(JAVA_INT_UNALIGNED, i, value);
    }

    /** Of F32: copies {@code into.length} floats from element {@code from} on. */
    public void getFloats(long from, float[] into) {
        MemorySegment.copy(data, JAVA_FLOAT_UNALIGNED, from * Float.BYTES, into, 0, into.length);
    }

    /** Copies {@code count} ints from element 0 on. */
    public void getInts(int[] into, int count) {
        MemorySegment.copy(data, JAVA_INT_UNALIGNED, 0, into, 0, count);
    }

    public void setInts(long at, int[] values, int from, int count) {
        MemorySegment.copy(values, from, data, JAVA_INT_UNALIGNED, at * Integer.BYTES, count);
    }

    public void setFloats(long at, float[] values, int from, int count) {
        MemorySegment.copy(values, from, data, JAVA_FLOAT_UNALIGNED, at * Float.BYTES, count);
    }

    /** For messages: {@code F32[2, 4]}. */
    @Override
    public String toString() {
        return dtype + Arrays.toString(shape);
    }

    /** Size of all elements of such a tensor. */
    public static long bytes(DType dtype, long... shape) {
        long n = dtype.bytes;
        for (long size : shape) {
            if (size < 0) throw new IllegalArgumentException(dtype + Arrays.toString(shape) + " has a negative size");
            if (Math.multiplyHigh(n, size) != 0 || n * size < 0)
                throw new IllegalArgumentException(dtype + Arrays.toString(shape) + " is too large");
            n *= size;
        }
        return n;
    }
}
