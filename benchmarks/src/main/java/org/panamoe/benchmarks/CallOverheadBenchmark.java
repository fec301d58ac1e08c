package org.panamoe.benchmarks;

import static java.lang.foreign.ValueLayout.JAVA_INT;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.lang.foreign.Arena;
import java.lang.foreign.FunctionDescriptor;
import java.lang.foreign.Linker;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.SymbolLookup;
import java.lang.invoke.MethodHandle;
import java.util.concurrent.TimeUnit;
import org.openjdk.jmh.annotations.Benchmark;
import org.openjdk.jmh.annotations.BenchmarkMode;
import org.openjdk.jmh.annotations.CompilerControl;
import org.openjdk.jmh.annotations.Fork;
import org.openjdk.jmh.annotations.Measurement;
import org.openjdk.jmh.annotations.Mode;
import org.openjdk.jmh.annotations.OutputTimeUnit;
import org.openjdk.jmh.annotations.Scope;
import org.openjdk.jmh.annotations.State;
import org.openjdk.jmh.annotations.TearDown;
import org.openjdk.jmh.annotations.Warmup;
import org.panamoe.backend.Backend;
import org.panamoe.backend.Kernels;
import org.panamoe.backend.ResourceCache;
import org.panamoe.tensor.Tensor;
import org.panamoe.tensor.Weight;

/**
 * What one crossing into C costs: pm_abi, which returns a constant, by each way there is; and the smallest kernel by the
 * whole way, with its shape check and its status.
 */
@State(Scope.Thread)
@BenchmarkMode(Mode.AverageTime)
@OutputTimeUnit(TimeUnit.NANOSECONDS)
@Fork(value = 1, jvmArgsAppend = "--enable-native-access=ALL-UNNAMED")
@Warmup(iterations = 3, time = 1)
@Measurement(iterations = 5, time = 1)
public class CallOverheadBenchmark {
    private static final MemorySegment ABI;
    private static final MethodHandle PANAMA;
    private static final MethodHandle CRITICAL;

    static {
        try {
            var library = SymbolLookup.libraryLookup(Backend.library("cpu"), Arena.global());
            ABI = library.findOrThrow("pm_abi");
            System.load(ResourceCache.library(
                            CallOverheadBenchmark.class.getClassLoader(),
                            "META-INF/panamoe-benchmarks/" + System.mapLibraryName("panamoe_jni_twin"))
                    .toString());
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
        var linker = Linker.nativeLinker();
        PANAMA = linker.downcallHandle(ABI, FunctionDescriptor.of(JAVA_INT));
        CRITICAL = linker.downcallHandle(ABI, FunctionDescriptor.of(JAVA_INT), Linker.Option.critical(false));
    }

    private final MethodHandle field = PANAMA;
    private final long address = ABI.address();

    private final Arena arena = Arena.ofShared();
    private final Kernels kernels = Backend.require("cpu", "threads=1");
    final Tensor x_TD = Tensor.of(arena, -3f).as(1, 1);
    final Tensor y_TD = Tensor.of(arena, 0f).as(1, 1);
    private final Weight w_D = Weight.of(Tensor.of(arena, 2f));

    /** A call that the compiler may not inline: the price of any call. */
    @Benchmark
    public int java() {
        return constant();
    }

    @Benchmark
    public int panama() throws Throwable {
        return (int) PANAMA.invokeExact();
    }

    /** Without the transition: a callee must be short, because no safepoint can be reached while it runs. */
    @Benchmark
    public int panamaCritical() throws Throwable {
        return (int) CRITICAL.invokeExact();
    }

    /** The handle lies in a field of an object, as it does in the back end, and not in a static constant. */
    @Benchmark
    public int panamaField() throws Throwable {
        return (int) field.invokeExact();
    }

    @Benchmark
    public int jni() {
        return call(address);
    }

    /** One row of one element: everything but the arithmetic. */
    @Benchmark
    public void rmsNorm() {
        kernels.rmsNorm(y_TD, x_TD, w_D, 1e-6f);
    }

    @TearDown
    public void close() {
        arena.close();
        kernels.close();
    }

    @CompilerControl(CompilerControl.Mode.DONT_INLINE)
    private static int constant() {
        return 1; // pm_abi, too, does nothing but return a constant
    }

    private static native int call(long callee);
}
