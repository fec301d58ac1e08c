package org.panamoe.model;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.util.Arrays;
import org.panamoe.backend.Kernels;
import org.panamoe.tensor.DType;
import org.panamoe.tensor.Tensor;

/** Memory of the back end for as many rows as the largest step so far had. */
final class Buffer implements AutoCloseable {
    /** Views of so many rows are kept: of routed rows a step of decoding has K for each token. */
    private static final int FEW = 128;

    private final Kernels kernels;
    private final DType dtype;
    private final long[] shape;
    private Arena arena = Arena.ofShared();
    private Tensor held;
    private final ByRows<Tensor> rows = new ByRows<>(FEW, n -> held.rows(0, n));
    private final ByRows<Tensor> matrices = new ByRows<>(FEW, n -> rows(n).as(n, width()));

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
        return rows.of(n);
    }

    /** The first n rows, each as one row of a matrix. */
    Tensor matrix(int n) {
        rows(n); // it may grow
        return matrices.of(n);
    }

    /** The first n rows, filled with as many of these values as they hold. */
    Tensor fill(int n, int[] values) {
        var rows = rows(n);
        int count = n * width();
        if (values.length < count)
            throw new IllegalArgumentException("%d values for %s".formatted(values.length, rows));
        if (kernels.onDevice()) {
            try (var local = Arena.ofConfined()) {
                kernels.copy(
                        rows, Tensor.of(local, Arrays.copyOf(values, count)).as(shapeOf(n)));
            }
        } else {
            rows.setInts(0, values, 0, count);
        }
        return rows;
    }

    /** The first n rows, filled with as many of these values as they hold. */
    Tensor fill(int n, float[] values) {
        var rows = rows(n);
        int count = n * width();
        if (values.length < count)
            throw new IllegalArgumentException("%d values for %s".formatted(values.length, rows));
        if (kernels.onDevice()) {
            try (var local = Arena.ofConfined()) {
                kernels.copy(
                        rows, Tensor.of(local, Arrays.copyOf(values, count)).as(shapeOf(n)));
            }
        } else {
            rows.setFloats(0, values, 0, count);
        }
        return rows;
    }

    /** What the first n rows hold. */
    float[] floats(int n) {
        float[] values = new float[n * width()];
        read(n, values);
        return values;
    }

    /** What the first n rows hold, as many as there is room for in {@code values}, exactly. */
    void read(int n, float[] values) {
        if (kernels.onDevice()) {
            try (var local = Arena.ofConfined()) {
                host(local, n).getFloats(0, values);
            }
        } else {
            requireWhole(rows(n), values.length);
            rows(n).getFloats(0, values);
        }
    }

    /** What the first n rows hold. */
    int[] ints(int n) {
        int[] values = new int[n * width()];
        read(n, values);
        return values;
    }

    /** What the first n rows hold, to the beginning of {@code values}. */
    void read(int n, int[] values) {
        int count = n * width();
        if (kernels.onDevice()) {
            try (var local = Arena.ofConfined()) {
                host(local, n).getInts(values, count);
            }
        } else {
            rows(n).getInts(values, count);
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

    private static void requireWhole(Tensor rows, int values) {
        if (rows.size() != values) throw new IllegalArgumentException("%d values for %s".formatted(values, rows));
    }

    private Tensor empty() {
        rows.forget();
        matrices.forget();
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
