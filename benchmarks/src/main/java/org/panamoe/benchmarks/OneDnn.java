package org.panamoe.benchmarks;

import static java.lang.foreign.ValueLayout.ADDRESS;
import static java.lang.foreign.ValueLayout.JAVA_BYTE;
import static java.lang.foreign.ValueLayout.JAVA_FLOAT;
import static java.lang.foreign.ValueLayout.JAVA_INT;
import static java.lang.foreign.ValueLayout.JAVA_LONG;

import java.lang.foreign.FunctionDescriptor;
import java.lang.foreign.MemorySegment;
import java.lang.invoke.MethodHandle;
import org.panamoe.tensor.Tensor;

/**
 * The installed oneDNN. Its threads are OpenMP's, whose number belongs to the thread that sets it: the same one has to
 * multiply.
 */
final class OneDnn implements Baseline.Gemm {
    private final MethodHandle sgemm;
    private final String description;

    OneDnn(int threads) {
        var library = library();
        sgemm = library.function(
                "dnnl_sgemm",
                FunctionDescriptor.of(
                        JAVA_INT,
                        JAVA_BYTE,
                        JAVA_BYTE,
                        JAVA_LONG,
                        JAVA_LONG,
                        JAVA_LONG,
                        JAVA_FLOAT,
                        ADDRESS,
                        JAVA_LONG,
                        ADDRESS,
                        JAVA_LONG,
                        JAVA_FLOAT,
                        ADDRESS,
                        JAVA_LONG));
        var version = library.function("dnnl_version", FunctionDescriptor.of(ADDRESS));
        var setThreads = library.function("omp_set_num_threads", FunctionDescriptor.ofVoid(JAVA_INT));
        try {
            setThreads.invokeExact(threads);
            var numbers = ((MemorySegment) version.invokeExact()).reinterpret(3 * JAVA_INT.byteSize());
            description = "oneDNN %d.%d.%d, threads=%d"
                    .formatted(
                            numbers.getAtIndex(JAVA_INT, 0),
                            numbers.getAtIndex(JAVA_INT, 1),
                            numbers.getAtIndex(JAVA_INT, 2),
                            threads);
        } catch (Throwable e) {
            throw new AssertionError(e); // C throws nothing
        }
    }

    static SystemLibrary library() {
        return new SystemLibrary("libdnnl.so.3", "libdnnl.so.2");
    }

    @Override
    public void gemm(Tensor y_TF, Tensor x_TD, Tensor w_FD) {
        long T = x_TD.dim(0), D = x_TD.dim(1), F = w_FD.dim(0);
        int status;
        try {
            status = (int) sgemm.invokeExact(
                    (byte) 'N', (byte) 'T', T, F, D, 1f, x_TD.data, D, w_FD.data, D, 0f, y_TF.data, F);
        } catch (Throwable e) {
            throw new AssertionError(e); // C throws nothing
        }
        if (status != 0) throw new IllegalStateException("dnnl_sgemm: status " + status);
    }

    @Override
    public String describe() {
        return description;
    }
}
