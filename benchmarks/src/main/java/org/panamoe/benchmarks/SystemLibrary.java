package org.panamoe.benchmarks;

import java.lang.foreign.Arena;
import java.lang.foreign.FunctionDescriptor;
import java.lang.foreign.Linker;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.SymbolLookup;
import java.lang.invoke.MethodHandle;
import java.util.List;
import java.util.Optional;

/** A C library that the system's loader finds, or does not. What is loaded stays. */
final class SystemLibrary {
    private static final Linker LINKER = Linker.nativeLinker();

    private final List<String> files;
    private final Optional<SymbolLookup> symbols;

    /** @param files names of the same library, the first that there is counts */
    SystemLibrary(String... files) {
        this.files = List.of(files);
        symbols = this.files.stream().flatMap(file -> load(file).stream()).findFirst();
    }

    private static Optional<SymbolLookup> load(String file) {
        try {
            return Optional.of(SymbolLookup.libraryLookup(file, Arena.global()));
        } catch (IllegalArgumentException absent) {
            return Optional.empty();
        }
    }

    Optional<String> absence() {
        return symbols.isPresent()
                ? Optional.empty()
                : Optional.of(
                        "the system's loader cannot load %s, or what it needs".formatted(String.join(" or ", files)));
    }

    MethodHandle function(String name, FunctionDescriptor type) {
        return LINKER.downcallHandle(symbols.orElseThrow().findOrThrow(name), type);
    }

    static MethodHandle inProcess(String name, FunctionDescriptor type) {
        return LINKER.downcallHandle(LINKER.defaultLookup().findOrThrow(name), type);
    }

    static String string(MemorySegment c) {
        return c.reinterpret(Long.MAX_VALUE).getString(0);
    }
}
