package org.panamoe.model;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import org.panamoe.backend.Kernels;
import org.panamoe.tensor.DType;
import org.panamoe.tensor.Tensor;

/** Memory of the back end for as many rows as the largest step so far had. */
final class Buffer implements AutoCloseable {
    private final Kernels kernels;
    private final DType dtype;
    private final long[] shape;
    private Arena arena = Arena.ofShared();
    private Tensor held;

    /** @param row shape of one row */
    Buffer(Kernels kernels, DType dtype, int... row) {
        this.kernels = kernels;
        this.dtype = dtype;
        shape = new long[row.length + 1];
        for (int i = 0; i < row.length; i++) shape[i + 1] = row[i];
        held = empty();
    }

    /** The first n rows, with what was last written there as long as the buffer did not grow. */
    Tensor rows(int n) {
        if (n > held.dim(0)) {
            held = empty(); // should there be no memory for n rows
            close();
            arena = Arena.ofShared();
            shape[0] = n;
            held = kernels.allocate(arena, dtype, shape);
        }
        return held.rows(0, n);
    }

    /** n rows of another width, at most that of this buffer. */
    Tensor rows(int n, int width) {
        int most = Math.toIntExact(shape[1]);
        var tensor = rows(n);
        if (width == most) return tensor;
        return tensor.as((long) n * most).rows(0, (long) n * width).as(n, width);
    }

    /** The first n rows, filled with these values. */
    Tensor fill(int n, int[] values) {
        try (var local = Arena.ofConfined()) {
            var rows = rows(n);
            kernels.copy(rows, Tensor.of(local, values).as(shapeOf(n)));
            return rows;
        }
    }

    /** The first n rows, filled with these values. */
    Tensor fill(int n, float[] values) {
        try (var local = Arena.ofConfined()) {
            var rows = rows(n);
            kernels.copy(rows, Tensor.of(local, values).as(shapeOf(n)));
            return rows;
        }
    }

    /** What the first n rows hold. */
    float[] floats(int n) {
        try (var local = Arena.ofConfined()) {
            var host = host(local, n);
            float[] values = new float[Math.toIntExact(host.size())];
            host.getFloats(0, values);
            return values;
        }
    }

    /** What the first n rows hold. */
    int[] ints(int n) {
        try (var local = Arena.ofConfined()) {
            var host = host(local, n);
            int[] values = new int[Math.toIntExact(host.size())];
            for (int i = 0; i < values.length; i++) values[i] = host.getInt(i);
            return values;
        }
    }

    /** Elements of a row. */
    int width() {
        long width = 1;
        for (int i = 1; i < shape.length; i++) width *= shape[i];
        return Math.toIntExact(width);
    }

    private Tensor host(Arena local, int n) {
        var host = Tensor.allocate(local, dtype, shapeOf(n));
        kernels.copy(host, rows(n));
        return host;
    }

    private Tensor empty() {
        shape[0] = 0;
        return new Tensor(MemorySegment.NULL, dtype, shape);
    }

    private long[] shapeOf(int n) {
        long[] copy = shape.clone();
        copy[0] = n;
        return copy;
    }

    @Override
    public void close() {
        if (arena.scope().isAlive()) arena.close();
    }
}
