package org.panamoe.backend;

import static org.assertj.core.api.Assertions.assertThat;

import java.lang.foreign.Arena;
import java.lang.foreign.ValueLayout;
import java.util.List;
import org.panamoe.tensor.DType;
import org.panamoe.tensor.Tensor;
import org.panamoe.tensor.Weight;

/**
 * A back end with an arena: what a test gives lies on the host and is copied into its memory, results are copied back.
 * Closing checks that the back end has nothing left.
 */
final class On implements AutoCloseable {
    final Kernels kernels;
    final Arena arena = Arena.ofConfined();

    On(Kernels kernels) {
        this.kernels = kernels;
    }

    Tensor in(Tensor host) {
        var there = kernels.allocate(arena, host.dtype, shape(host));
        kernels.copy(there, host);
        return there;
    }

    /** At odd addresses, as in a checkpoint. */
    Weight in(Weight host) {
        return in(host, arena);
    }

    Weight in(Weight host, Arena owner) {
        return host.copied(tensor -> odd(tensor, owner));
    }

    ExpertTable in(List<Weight> host) {
        return in(host, arena);
    }

    /** Experts that belong to {@code owner}; the table itself does not. */
    ExpertTable in(List<Weight> host, Arena owner) {
        return new ExpertTable(
                kernels, arena, host.stream().map(w -> in(w, owner)).toList());
    }

    Rope in(Rope host) {
        return new Rope(in(host.cos_SZ()), in(host.sin_SZ()));
    }

    Rows in(Rows host) {
        return new Rows(in(host.table_AM()), in(host.request_T()), in(host.position_T()));
    }

    LatentPages in(LatentPages host) {
        return new LatentPages(in(host.pages_SBX()));
    }

    /** Full of what no test expects, so that a value that was not written shows. */
    Tensor out(long... shape) {
        return out(DType.F32, shape);
    }

    Tensor out(DType dtype, long... shape) {
        var there = kernels.allocate(arena, dtype, shape);
        try (var local = Arena.ofConfined()) {
            var host = Tensor.allocate(local, dtype, shape);
            host.data.fill((byte) 0xee); // -3.7e28, or -286331154
            kernels.copy(there, host);
        }
        return there;
    }

    float[] floats(Tensor there) {
        var floats = new float[(int) there.size()];
        host(there).getFloats(0, floats);
        return floats;
    }

    /** The bits. */
    short[] bf16(Tensor there) {
        return bf16Values(host(there));
    }

    static short[] bf16Values(Tensor host) {
        return host.data.toArray(ValueLayout.JAVA_SHORT);
    }

    int[] ints(Tensor there) {
        var host = host(there);
        var ints = new int[(int) there.size()];
        for (int i = 0; i < ints.length; i++) ints[i] = host.getInt(i);
        return ints;
    }

    @Override
    public void close() {
        arena.close();
        assertThat(kernels.allocated()).isZero();
        kernels.close();
    }

    private Tensor host(Tensor there) {
        var host = Tensor.allocate(arena, there.dtype, shape(there));
        kernels.copy(host, there);
        return host;
    }

    private Tensor odd(Tensor host, Arena owner) {
        long bytes = host.bytes();
        var room = kernels.allocate(owner, DType.U8, bytes + 1).rows(1, bytes + 1);
        var there = new Tensor(room.data, host.dtype, shape(host));
        kernels.copy(there, host);
        return there;
    }

    private static long[] shape(Tensor tensor) {
        var shape = new long[tensor.rank()];
        for (int i = 0; i < shape.length; i++) shape[i] = tensor.dim(i);
        return shape;
    }
}
