package org.panamoe.cli;

import java.lang.foreign.FunctionDescriptor;
import java.lang.foreign.Linker;
import java.lang.foreign.ValueLayout;

/** Asks the C library what Java does not tell: {@link System#console} is about stdin and stdout only. */
final class Terminal {
    static final int STDERR = 2;

    private Terminal() {}

    static boolean isTerminal(int descriptor) {
        var linker = Linker.nativeLinker();
        var isatty = linker.defaultLookup().find("isatty");
        if (isatty.isEmpty()) return false;
        var call =
                linker.downcallHandle(isatty.get(), FunctionDescriptor.of(ValueLayout.JAVA_INT, ValueLayout.JAVA_INT));
        try {
            return (int) call.invokeExact(descriptor) == 1;
        } catch (Throwable e) {
            throw new AssertionError(e); // isatty throws nothing
        }
    }
}
