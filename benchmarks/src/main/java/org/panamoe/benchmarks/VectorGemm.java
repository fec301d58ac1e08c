package org.panamoe.benchmarks;

import static java.lang.foreign.ValueLayout.JAVA_FLOAT_UNALIGNED;

import java.lang.foreign.MemorySegment;
import java.nio.ByteOrder;
import jdk.incubator.vector.FloatVector;
import jdk.incubator.vector.VectorOperators;
import jdk.incubator.vector.VectorSpecies;
import org.panamoe.tensor.Tensor;

/**
 * Dot products by the Vector API, four rows of w with one row of x at a time: what Java alone gives without tiles for
 * registers and caches.
 */
final class VectorGemm implements Baseline.Gemm {
    private static final VectorSpecies<Float> SPECIES = FloatVector.SPECIES_PREFERRED;
    private static final int ROWS = 4;

    private final Strips strips;

    VectorGemm(int threads) {
        strips = new Strips(threads);
    }

    @Override
    public void gemm(Tensor y_TF, Tensor x_TD, Tensor w_FD) {
        strips.each(w_FD.dim(0), (from, to) -> columns(y_TF, x_TD, w_FD, from, to));
    }

    private static void columns(Tensor y_TF, Tensor x_TD, Tensor w_FD, int from, int to) {
        int T = x_TD.dim(0), D = x_TD.dim(1), F = w_FD.dim(0);
        int f = from;
        for (; f + ROWS <= to; f += ROWS)
            for (int t = 0; t < T; t++) four(y_TF.data, x_TD.data, w_FD.data, (long) t * F + f, t, f, D);
        for (; f < to; f++)
            for (int t = 0; t < T; t++)
                y_TF.setFloat((long) t * F + f, dot(x_TD.data, w_FD.data, (long) t * D, (long) f * D, D));
    }

    /** Four sums at once hide the latency of an addition. */
    private static void four(MemorySegment y, MemorySegment x, MemorySegment w, long at, int t, int f, int D) {
        long x0 = (long) t * D * Float.BYTES, w0 = (long) f * D * Float.BYTES, row = (long) D * Float.BYTES;
        long w1 = w0 + row, w2 = w1 + row, w3 = w2 + row;
        var a = FloatVector.zero(SPECIES);
        var b = a;
        var c = a;
        var d = a;
        int whole = SPECIES.loopBound(D);
        for (int i = 0; i < whole; i += SPECIES.length()) {
            long offset = (long) i * Float.BYTES;
            var v = load(x, x0 + offset);
            a = load(w, w0 + offset).fma(v, a);
            b = load(w, w1 + offset).fma(v, b);
            c = load(w, w2 + offset).fma(v, c);
            d = load(w, w3 + offset).fma(v, d);
        }
        y.setAtIndex(JAVA_FLOAT_UNALIGNED, at, sum(a) + rest(x, w, x0, w0, whole, D));
        y.setAtIndex(JAVA_FLOAT_UNALIGNED, at + 1, sum(b) + rest(x, w, x0, w1, whole, D));
        y.setAtIndex(JAVA_FLOAT_UNALIGNED, at + 2, sum(c) + rest(x, w, x0, w2, whole, D));
        y.setAtIndex(JAVA_FLOAT_UNALIGNED, at + 3, sum(d) + rest(x, w, x0, w3, whole, D));
    }

    private static float dot(MemorySegment x, MemorySegment w, long xAt, long wAt, int D) {
        long x0 = xAt * Float.BYTES, w0 = wAt * Float.BYTES;
        var a = FloatVector.zero(SPECIES);
        int whole = SPECIES.loopBound(D);
        for (int i = 0; i < whole; i += SPECIES.length()) {
            long offset = (long) i * Float.BYTES;
            a = load(w, w0 + offset).fma(load(x, x0 + offset), a);
        }
        return sum(a) + rest(x, w, x0, w0, whole, D);
    }

    private static FloatVector load(MemorySegment from, long at) {
        return FloatVector.fromMemorySegment(SPECIES, from, at, ByteOrder.nativeOrder());
    }

    private static float sum(FloatVector v) {
        return v.reduceLanes(VectorOperators.ADD);
    }

    /** Behind the last whole vector. */
    private static float rest(MemorySegment x, MemorySegment w, long xAt, long wAt, int from, int D) {
        float sum = 0;
        for (long i = (long) from * Float.BYTES; i < (long) D * Float.BYTES; i += Float.BYTES)
            sum += x.get(JAVA_FLOAT_UNALIGNED, xAt + i) * w.get(JAVA_FLOAT_UNALIGNED, wAt + i);
        return sum;
    }

    @Override
    public String describe() {
        return "Vector API, %d lanes, threads=%d".formatted(SPECIES.length(), strips.threads());
    }

    @Override
    public void close() {
        strips.close();
    }
}
