package org.panamoe.bench.kernel;

import java.lang.foreign.Arena;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.function.Consumer;
import org.panamoe.backend.Kernels;
import org.panamoe.backend.Rope;
import org.panamoe.bench.RandomWeights;
import org.panamoe.tensor.DType;
import org.panamoe.tensor.QuantFormat;
import org.panamoe.tensor.Tensor;
import org.panamoe.tensor.Weight;

/**
 * Makes inputs where a back end reads them: in place on the host, by way of a small piece of the host on a device. No
 * number is a denormal, a NaN or an infinity. Several works may share their inputs' weights: those of one format are cut
 * out of the same slab.
 */
public final class Inputs {
    /** Cold weights, all copies together: more than any cache holds. */
    public static final long COLD = 512L << 20;

    private static final long PIECE = 64L << 20;

    /** What a vector register is aligned to, in bytes. */
    private static final long LINE = 64;

    /** Who gives memory where the back end reads it: the back end itself, or JCuda. */
    @FunctionalInterface
    public interface Memory {
        Tensor allocate(Arena arena, DType dtype, long... shape);
    }

    private final Kernels kernels;
    private final Memory memory;
    private final Arena arena;
    private final RandomWeights random;
    private final long cold;
    private final Map<Object, Tensor> slabs = new HashMap<>();

    /**
     * @param arena owns all that is made
     * @param caches on a device there is one copy all the same: who measures there flushes the cache between calls
     */
    public Inputs(Kernels kernels, Memory memory, Arena arena, long seed, Caches caches) {
        this.kernels = kernels;
        this.memory = memory;
        this.arena = arena;
        random = new RandomWeights(seed);
        cold = caches == Caches.COLD && !kernels.onDevice() ? COLD : 0;
    }

    Arena arena() {
        return arena;
    }

    /** What weights of one format, or latents, take at least. */
    static long slabBytes(Caches caches) {
        return caches == Caches.COLD ? COLD + COLD / 8 : 0; // scales take up to an eighth of what they scale
    }

    /** How many copies of so many bytes are cold, if no call takes the same one as the call before; 1 if it is hot. */
    int copies(long bytes) {
        return Math.clamp(cold / Math.max(1, bytes), 1, Integer.MAX_VALUE);
    }

    /** Not initialised. */
    Tensor result(DType dtype, long... shape) {
        return memory.allocate(arena, dtype, shape);
    }

    /** As many matrices [F, D] as make {@code count} of them cold: a multiple of {@code count}. */
    List<Weight> weights(QuantFormat format, int count, int F, int D) {
        long size = lines((long) F * format.elements(D), format.stored);
        int all = Math.multiplyExact(count, copies(count * size * format.stored.bytes));
        var data = slab(format, format.stored, all * size, cold, t -> random.fillWeights(format, t));
        if (!format.scaled()) {
            var weights = new ArrayList<Weight>();
            for (int i = 0; i < all; i++) weights.add(new Weight(format, cut(data, i, size, F, D), null, D));
            return weights;
        }
        int scaleRows = Math.ceilDiv(F, format.blockRows), scaleColumns = Math.ceilDiv(D, format.block);
        long scales = lines((long) scaleRows * scaleColumns, format.scales);
        long usual = cold * format.packed / ((long) format.blockRows * format.block) * format.scales.bytes;
        var scale =
                slab(List.of(format, "scales"), format.scales, all * scales, usual, t -> random.fillScales(format, t));
        var weights = new ArrayList<Weight>();
        for (int i = 0; i < all; i++)
            weights.add(new Weight(
                    format,
                    cut(data, i, size, F, format.elements(D)),
                    cut(scale, i, scales, scaleRows, scaleColumns),
                    D));
        return weights;
    }

    /** The one weight [D] of a norm. */
    Weight norm(int D) {
        return Weight.of(filled(DType.BF16, random::fill, D));
    }

    /** F32 or BF16 latents, as many tensors of this shape as are cold. */
    List<Tensor> latents(DType dtype, long... shape) {
        long size = lines(Tensor.bytes(dtype, shape) / dtype.bytes, dtype);
        int copies = copies(size * dtype.bytes);
        var slab = slab(dtype, dtype, copies * size, cold, random::fill);
        var latents = new ArrayList<Tensor>();
        for (int i = 0; i < copies; i++) latents.add(cut(slab, i, size, shape));
        return latents;
    }

    /** See {@link RandomWeights#fill}. */
    Tensor activations(long... shape) {
        return filled(DType.F32, random::fill, shape);
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

    /** Plain rope with theta 10000, for S positions of R values. */
    Rope rope(int S, int R) {
        int Z = R / 2;
        float[] cos_SZ = new float[S * Z], sin_SZ = new float[S * Z];
        for (int i = 0; i < S * Z; i++) {
            int position = i / Z;
            double angle = position * Math.pow(10000, -2.0 * (i % Z) / R);
            cos_SZ[i] = (float) Math.cos(angle);
            sin_SZ[i] = (float) Math.sin(angle);
        }
        try (var local = Arena.ofConfined()) {
            return new Rope(
                    copy(Tensor.of(local, cos_SZ).as(S, Z)),
                    copy(Tensor.of(local, sin_SZ).as(S, Z)));
        }
    }

    /** So many elements or a few more, so that what follows is aligned. */
    private static long lines(long elements, DType dtype) {
        return Math.ceilDiv(elements * dtype.bytes, LINE) * LINE / dtype.bytes;
    }

    /** The slab with this name if it is large enough, else a new one of at least {@code usual} bytes. */
    private Tensor slab(Object name, DType dtype, long elements, long usual, Consumer<Tensor> filling) {
        var known = slabs.get(name);
        if (known != null && known.size() >= elements) return known;
        var made = filled(dtype, filling, Math.max(elements, usual / dtype.bytes));
        slabs.put(name, made);
        return made;
    }

    private static Tensor cut(Tensor slab, int number, long size, long... shape) {
        long from = number * size;
        long elements = Tensor.bytes(slab.dtype, shape) / slab.dtype.bytes;
        return slab.rows(from, from + elements).as(shape);
    }

    private Tensor filled(DType dtype, Consumer<Tensor> filling, long... shape) {
        var there = memory.allocate(arena, dtype, shape);
        if (!kernels.onDevice()) {
            filling.accept(there);
            return there;
        }
        var flat = there.as(there.size());
        try (var local = Arena.ofConfined()) {
            long most = Math.min(flat.size(), PIECE / dtype.bytes);
            var piece = Tensor.allocate(local, dtype, most);
            for (long from = 0; from < flat.size(); from += most) {
                long size = Math.min(most, flat.size() - from);
                filling.accept(piece);
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
