package org.panamoe.benchmarks;

import static java.lang.foreign.ValueLayout.ADDRESS;
import static java.lang.foreign.ValueLayout.JAVA_LONG;

import java.io.IOException;
import java.lang.foreign.Arena;
import java.lang.foreign.FunctionDescriptor;
import java.lang.foreign.Linker;
import java.lang.foreign.SymbolLookup;
import java.lang.invoke.MethodHandle;
import org.panamoe.backend.ResourceCache;
import org.panamoe.tensor.Tensor;

/** The loops of naive_gemm.c, a strip of columns for each thread. */
final class NaiveGemm implements Baseline.Gemm {
    private final Strips strips;
    private final MethodHandle gemm;

    NaiveGemm(int threads) throws IOException {
        var file = ResourceCache.library(
                NaiveGemm.class.getClassLoader(),
                "META-INF/panamoe-benchmarks/" + System.mapLibraryName("panamoe_naive_gemm"));
        gemm = Linker.nativeLinker()
                .downcallHandle(
                        SymbolLookup.libraryLookup(file, Arena.global()).findOrThrow("naive_gemm"),
                        FunctionDescriptor.ofVoid(
                                ADDRESS, ADDRESS, ADDRESS, JAVA_LONG, JAVA_LONG, JAVA_LONG, JAVA_LONG, JAVA_LONG));
        strips = new Strips(threads);
    }

    @Override
    public void gemm(Tensor y_TF, Tensor x_TD, Tensor w_FD) {
        long T = x_TD.dim(0), D = x_TD.dim(1), F = w_FD.dim(0);
        strips.each(w_FD.dim(0), (from, to) -> {
            try {
                gemm.invokeExact(y_TF.data, x_TD.data, w_FD.data, T, D, F, (long) from, (long) to);
            } catch (Throwable e) {
                throw new AssertionError(e); // C throws nothing
            }
        });
    }

    @Override
    public String describe() {
        return "naive C, threads=" + strips.threads();
    }

    @Override
    public void close() {
        strips.close();
    }
}
