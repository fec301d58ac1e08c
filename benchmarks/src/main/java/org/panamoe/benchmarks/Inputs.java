package org.panamoe.benchmarks;

import java.lang.foreign.Arena;
import org.panamoe.backend.Kernels;
import org.panamoe.bench.RandomWeights;
import org.panamoe.tensor.DType;
import org.panamoe.tensor.QuantFormat;
import org.panamoe.tensor.Tensor;
import org.panamoe.tensor.Weight;

/** Makes inputs where a back end reads them: in place on the host, by way of a small piece of the host on a device. */
final class Inputs {
    private static final long PIECE = 64L << 20;

    /** Who gives memory where the back end reads it: the back end itself, or JCuda. */
    interface Memory {
        Tensor allocate(Arena arena, DType dtype, long... shape);
    }

    private interface Filling {
        void fill(Tensor host);
    }

    private final Kernels kernels;
    private final Memory memory;
    private final Arena arena;
    private final RandomWeights random;

    Inputs(Kernels kernels, Memory memory, Arena arena, long seed) {
        this.kernels = kernels;
        this.memory = memory;
        this.arena = arena;
        random = new RandomWeights(seed);
    }

    /** Not initialised. */
    Tensor result(DType dtype, long... shape) {
        return memory.allocate(arena, dtype, shape);
    }

    /** See {@link RandomWeights#weight}. */
    Weight weight(QuantFormat format, int F, int D) {
        if (!kernels.onDevice()) return random.weight(arena, format, F, D);
        try (var local = Arena.ofConfined()) {
            return random.weight(local, format, F, D).copied(this::copy);
        }
    }

    /** See {@link RandomWeights#fill}. */
    Tensor activations(long... shape) {
        return filled(DType.F32, random::fill, shape);
    }

    /** F32 or BF16; see {@link RandomWeights#fill}. */
    Tensor latents(DType dtype, long... shape) {
        return filled(dtype, random::fill, shape);
    }

    /** See {@link RandomWeights#fillScores}. */
    Tensor scores(long... shape) {
        return filled(DType.F32, random::fillScores, shape);
    }

    Tensor ints(int... values) {
        try (var local = Arena.ofConfined()) {
            return copy(Tensor.of(local, values));
        }
    }

    private Tensor filled(DType dtype, Filling filling, long... shape) {
        var there = memory.allocate(arena, dtype, shape);
        if (!kernels.onDevice()) {
            filling.fill(there);
            return there;
        }
        var flat = there.as(there.size());
        try (var local = Arena.ofConfined()) {
            long most = Math.min(flat.size(), PIECE / dtype.bytes);
            var piece = Tensor.allocate(local, dtype, most);
            for (long from = 0; from < flat.size(); from += most) {
                long size = Math.min(most, flat.size() - from);
                filling.fill(piece);
                kernels.copy(flat.rows(from, from + size), piece.rows(0, size));
            }
        }
        return there;
    }

    private Tensor copy(Tensor host) {
        var shape = new long[host.rank()];
        for (int i = 0; i < shape.length; i++) shape[i] = host.dim(i);
        var there = memory.allocate(arena, host.dtype, shape);
        kernels.copy(there, host);
        return there;
    }
}
