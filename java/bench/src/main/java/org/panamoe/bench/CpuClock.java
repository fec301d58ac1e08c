package org.panamoe.bench;

import java.lang.foreign.Arena;
import java.lang.foreign.FunctionDescriptor;
import java.lang.foreign.Linker;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.lang.invoke.MethodHandle;

/** CPU time of all threads of this process, by clock_gettime: what the JDK asks counts in hundredths of a second. */
public final class CpuClock {
    private static final int CLOCK_PROCESS_CPUTIME_ID = 2;
    private static final MethodHandle CLOCK_GETTIME = Linker.nativeLinker()
            .downcallHandle(
                    Linker.nativeLinker().defaultLookup().findOrThrow("clock_gettime"),
                    FunctionDescriptor.of(ValueLayout.JAVA_INT, ValueLayout.JAVA_INT, ValueLayout.ADDRESS));
    private static final MemorySegment NOW = Arena.global().allocate(2 * Long.BYTES, Long.BYTES);

    private CpuClock() {}

    public static synchronized double seconds() {
        try {
            int failed = (int) CLOCK_GETTIME.invokeExact(CLOCK_PROCESS_CPUTIME_ID, NOW);
            if (failed != 0) throw new IllegalStateException("clock_gettime knows no CPU time of a process");
        } catch (RuntimeException | Error e) {
            throw e;
        } catch (Throwable e) {
            throw new AssertionError(e); // C throws nothing
        }
        return NOW.getAtIndex(ValueLayout.JAVA_LONG, 0) + NOW.getAtIndex(ValueLayout.JAVA_LONG, 1) / 1e9;
    }
}
