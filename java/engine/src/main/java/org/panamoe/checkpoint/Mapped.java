package org.panamoe.checkpoint;

import static java.lang.foreign.ValueLayout.ADDRESS;
import static java.lang.foreign.ValueLayout.JAVA_INT;
import static java.lang.foreign.ValueLayout.JAVA_LONG;

import java.lang.foreign.FunctionDescriptor;
import java.lang.foreign.Linker;
import java.lang.foreign.MemorySegment;
import java.lang.invoke.MethodHandle;
import java.util.Optional;

/**
 * Brings mapped files into memory and into the page tables of this process, so that nobody waits for them later. Linux
 * does it in one call for a whole range since 5.14; {@link MemorySegment#load} touches page by page, which took ten to
 * thirty times as long where the file was in the page cache, and serves where the call is missing.
 */
final class Mapped {
    private static final int MADV_POPULATE_READ = 22;
    private static final long PAGE = 4096; // where pages are larger, the call refuses

    private static final Optional<MethodHandle> MADVISE = System.getProperty("os.name")
                    .equals("Linux")
            ? Linker.nativeLinker()
                    .defaultLookup()
                    .find("madvise")
                    .map(symbol -> Linker.nativeLinker()
                            .downcallHandle(symbol, FunctionDescriptor.of(JAVA_INT, ADDRESS, JAVA_LONG, JAVA_INT)))
            : Optional.empty();

    private Mapped() {}

    static void load(MemorySegment segment) {
        if (MADVISE.isEmpty() || !populate(MADVISE.get(), segment)) segment.load();
    }

    private static boolean populate(MethodHandle madvise, MemorySegment segment) {
        long before = segment.address() % PAGE;
        var from = MemorySegment.ofAddress(segment.address() - before);
        try {
            // The caller's hold keeps the mapping: the kernel sees a mere address.
            return (int) madvise.invokeExact(from, segment.byteSize() + before, MADV_POPULATE_READ) == 0;
        } catch (Throwable e) {
            throw new AssertionError(e); // a downcall throws nothing
        }
    }
}
