package org.panamoe.benchmarks;

import static java.lang.foreign.ValueLayout.ADDRESS;
import static java.lang.foreign.ValueLayout.JAVA_FLOAT;
import static java.lang.foreign.ValueLayout.JAVA_INT;

import java.lang.foreign.Arena;
import java.lang.foreign.FunctionDescriptor;
import java.lang.foreign.MemorySegment;
import java.lang.invoke.MethodHandle;
import org.panamoe.bench.Machine;
import org.panamoe.tensor.Tensor;

/** The installed OpenBLAS, told which CPU this is: one that is older than the CPU takes it for a much older one. */
final class OpenBlas implements Baseline.Gemm {
    private static final int ROW_MAJOR = 101, AS_IT_IS = 111, TRANSPOSED = 112;

    private final MethodHandle sgemm;
    private final String description;

    OpenBlas(int threads) {
        var library = library();
        sgemm = library.function(
                "cblas_sgemm",
                FunctionDescriptor.ofVoid(
                        JAVA_INT,
                        JAVA_INT,
                        JAVA_INT,
                        JAVA_INT,
                        JAVA_INT,
                        JAVA_INT,
                        JAVA_FLOAT,
                        ADDRESS,
                        JAVA_INT,
                        ADDRESS,
                        JAVA_INT,
                        JAVA_FLOAT,
                        ADDRESS,
                        JAVA_INT));
        var setThreads = library.function("openblas_set_num_threads", FunctionDescriptor.ofVoid(JAVA_INT));
        var config = library.function("openblas_get_config", FunctionDescriptor.of(ADDRESS));
        try {
            setThreads.invokeExact(threads);
            description =
                    "%s, threads=%d".formatted(SystemLibrary.string((MemorySegment) config.invokeExact()), threads);
        } catch (Throwable e) {
            throw new AssertionError(e); // C throws nothing
        }
    }

    /** OpenBLAS looks at its environment once, when it is loaded. */
    static SystemLibrary library() {
        var flags = Machine.read().flags();
        if (flags.contains("avx512f")) set("OPENBLAS_CORETYPE", "SkylakeX");
        else if (flags.contains("avx2")) set("OPENBLAS_CORETYPE", "Haswell");
        return new SystemLibrary("libopenblas.so.0");
    }

    private static void set(String variable, String value) {
        var setenv = SystemLibrary.inProcess("setenv", FunctionDescriptor.of(JAVA_INT, ADDRESS, ADDRESS, JAVA_INT));
        try (var arena = Arena.ofConfined()) {
            int failed = (int) setenv.invokeExact(arena.allocateFrom(variable), arena.allocateFrom(value), 1);
            if (failed != 0) throw new IllegalStateException("%s=%s cannot be set".formatted(variable, value));
        } catch (RuntimeException e) {
            throw e;
        } catch (Throwable e) {
            throw new AssertionError(e); // C throws nothing
        }
    }

    @Override
    public void gemm(Tensor y_TF, Tensor x_TD, Tensor w_FD) {
        int T = x_TD.dim(0), D = x_TD.dim(1), F = w_FD.dim(0);
        try {
            sgemm.invokeExact(
                    ROW_MAJOR, AS_IT_IS, TRANSPOSED, T, F, D, 1f, x_TD.data, D, w_FD.data, D, 0f, y_TF.data, F);
        } catch (Throwable e) {
            throw new AssertionError(e); // C throws nothing
        }
    }

    @Override
    public String describe() {
        return description;
    }
}
