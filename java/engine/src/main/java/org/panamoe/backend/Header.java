package org.panamoe.backend;

import static java.lang.foreign.ValueLayout.ADDRESS;
import static java.lang.foreign.ValueLayout.JAVA_FLOAT;
import static java.lang.foreign.ValueLayout.JAVA_INT;
import static java.lang.foreign.ValueLayout.JAVA_LONG;

import java.lang.foreign.FunctionDescriptor;
import java.lang.foreign.Linker;
import java.lang.foreign.MemoryLayout;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.SymbolLookup;
import java.lang.invoke.MethodHandle;
import java.lang.invoke.MethodHandles;
import java.lang.invoke.MethodType;
import java.util.LinkedHashMap;
import java.util.Map;

/** The functions of panamoe.h as one library exports them, in the header's order; HeaderTest compares the two. */
final class Header {
    static final int ABI = 5;
    static final int OK = 0;
    static final int F32 = 0;
    static final int CACHE_F32 = 0;
    static final int CACHE_BF16 = 1;
    static final int DEVICE = 1;
    static final int READ_BANDWIDTH = 0;
    static final int FMA_RATE = 1;
    static final int INT8_RATE = 2;

    private final SymbolLookup library;

    /** By name, what was bound. */
    final Map<String, FunctionDescriptor> bound = new LinkedHashMap<>();

    final MethodHandle abi;
    final MethodHandle open;
    final MethodHandle close;
    final MethodHandle error;
    final MethodHandle describe;
    final MethodHandle memory;
    final MethodHandle allocate;
    final MethodHandle free;
    final MethodHandle allocated;
    final MethodHandle copy;
    final MethodHandle synchronize;
    final MethodHandle measure;
    final MethodHandle rmsNorm;
    final MethodHandle gemm;
    final MethodHandle groupedGemm;
    final MethodHandle groupedSwiglu;
    final MethodHandle groupedCombine;
    final MethodHandle mlaQuery;
    final MethodHandle latentAppend;
    final MethodHandle mlaAttention;
    final MethodHandle mlaOutput;
    final MethodHandle mlaExpanded;
    final MethodHandle score;
    final MethodHandle route;
    final MethodHandle gather;
    final MethodHandle combine;
    final MethodHandle swiglu;
    final MethodHandle add;
    final MethodHandle embed;
    final MethodHandle argmax;

    Header(SymbolLookup library) {
        this.library = library;
        abi = status("pm_abi");
        open = status("pm_open", ADDRESS, ADDRESS);
        close = bind("pm_close", FunctionDescriptor.ofVoid(ADDRESS));
        error = bind("pm_error", FunctionDescriptor.of(ADDRESS, ADDRESS));
        describe = bind("pm_describe", FunctionDescriptor.of(ADDRESS, ADDRESS));
        memory = status("pm_memory", ADDRESS);
        allocate = status("pm_allocate", ADDRESS, ADDRESS, JAVA_LONG);
        free = status("pm_free", ADDRESS, ADDRESS);
        allocated = bind("pm_allocated", FunctionDescriptor.of(JAVA_LONG, ADDRESS));
        copy = status("pm_copy", ADDRESS, ADDRESS, ADDRESS, JAVA_LONG);
        synchronize = status("pm_synchronize", ADDRESS);
        measure = status("pm_measure", ADDRESS, JAVA_INT, ADDRESS);
        rmsNorm = status(
                "pm_rms_norm", ADDRESS, ADDRESS, ADDRESS, JAVA_INT, ADDRESS, JAVA_INT, JAVA_INT, JAVA_INT, JAVA_FLOAT);
        gemm = status(
                "pm_gemm", ADDRESS, ADDRESS, ADDRESS, JAVA_INT, ADDRESS, ADDRESS, JAVA_INT, JAVA_INT, JAVA_INT,
                JAVA_INT);
        groupedGemm = status(
                "pm_grouped_gemm",
                ADDRESS,
                ADDRESS,
                ADDRESS,
                JAVA_INT,
                ADDRESS,
                ADDRESS,
                JAVA_INT,
                ADDRESS,
                JAVA_INT,
                JAVA_INT,
                JAVA_INT,
                JAVA_INT);
        groupedSwiglu = status(
                "pm_grouped_swiglu",
                ADDRESS,
                ADDRESS,
                ADDRESS,
                JAVA_INT,
                ADDRESS,
                ADDRESS,
                ADDRESS,
                ADDRESS,
                JAVA_INT,
                ADDRESS,
                ADDRESS,
                JAVA_INT,
                JAVA_INT,
                JAVA_INT,
                JAVA_INT,
                JAVA_INT);
        groupedCombine = status(
                "pm_grouped_combine",
                ADDRESS,
                ADDRESS,
                ADDRESS,
                JAVA_INT,
                ADDRESS,
                ADDRESS,
                JAVA_INT,
                ADDRESS,
                ADDRESS,
                ADDRESS,
                JAVA_INT,
                JAVA_INT,
                JAVA_INT,
                JAVA_INT,
                JAVA_INT);
        mlaQuery = status(
                "pm_mla_query",
                ADDRESS,
                ADDRESS,
                ADDRESS,
                JAVA_INT,
                ADDRESS,
                ADDRESS,
                JAVA_INT,
                ADDRESS,
                ADDRESS,
                ADDRESS,
                JAVA_INT,
                JAVA_INT,
                JAVA_INT,
                JAVA_INT,
                JAVA_INT,
                JAVA_INT,
                JAVA_INT);
        latentAppend = status(
                "pm_latent_append",
                ADDRESS,
                ADDRESS,
                JAVA_INT,
                ADDRESS,
                JAVA_INT,
                ADDRESS,
                JAVA_INT,
                JAVA_FLOAT,
                ADDRESS,
                ADDRESS,
                ADDRESS,
                ADDRESS,
                ADDRESS,
                JAVA_INT,
                JAVA_INT,
                JAVA_INT,
                JAVA_INT,
                JAVA_INT,
                JAVA_INT,
                JAVA_INT,
                JAVA_INT);
        mlaAttention = status(
                "pm_mla_attention",
                ADDRESS,
                ADDRESS,
                ADDRESS,
                JAVA_INT,
                ADDRESS,
                JAVA_INT,
                ADDRESS,
                ADDRESS,
                ADDRESS,
                JAVA_FLOAT,
                JAVA_INT,
                JAVA_INT,
                JAVA_INT,
                JAVA_INT,
                JAVA_INT,
                JAVA_INT,
                JAVA_INT,
                JAVA_INT);
        mlaOutput = status(
                "pm_mla_output",
                ADDRESS,
                ADDRESS,
                ADDRESS,
                JAVA_INT,
                ADDRESS,
                ADDRESS,
                JAVA_INT,
                JAVA_INT,
                JAVA_INT,
                JAVA_INT,
                JAVA_INT,
                JAVA_INT);
        mlaExpanded = status(
                "pm_mla_expanded",
                ADDRESS,
                ADDRESS,
                ADDRESS,
                JAVA_INT,
                ADDRESS,
                JAVA_INT,
                ADDRESS,
                ADDRESS,
                JAVA_INT,
                ADDRESS,
                ADDRESS,
                ADDRESS,
                ADDRESS,
                ADDRESS,
                JAVA_FLOAT,
                JAVA_INT,
                JAVA_INT,
                JAVA_INT,
                JAVA_INT,
                JAVA_INT,
                JAVA_INT,
                JAVA_INT,
                JAVA_INT,
                JAVA_INT,
                JAVA_INT,
                JAVA_INT);
        score = status("pm_score", ADDRESS, ADDRESS, JAVA_INT, JAVA_INT, JAVA_INT, JAVA_INT);
        route = status(
                "pm_route",
                ADDRESS,
                ADDRESS,
                ADDRESS,
                ADDRESS,
                ADDRESS,
                ADDRESS,
                ADDRESS,
                JAVA_INT,
                ADDRESS,
                JAVA_INT,
                JAVA_INT,
                JAVA_INT,
                JAVA_INT,
                JAVA_INT,
                JAVA_INT,
                JAVA_INT,
                JAVA_FLOAT);
        gather = status("pm_gather", ADDRESS, ADDRESS, ADDRESS, JAVA_INT, ADDRESS, JAVA_INT, JAVA_INT, JAVA_INT);
        combine = status(
                "pm_combine", ADDRESS, ADDRESS, ADDRESS, JAVA_INT, ADDRESS, ADDRESS, JAVA_INT, JAVA_INT, JAVA_INT);
        swiglu = status("pm_swiglu", ADDRESS, ADDRESS, ADDRESS, ADDRESS, JAVA_INT, JAVA_INT, JAVA_INT);
        add = status("pm_add", ADDRESS, ADDRESS, ADDRESS, JAVA_INT, JAVA_INT, JAVA_INT);
        embed = status(
                "pm_embed",
                ADDRESS,
                ADDRESS,
                JAVA_INT,
                ADDRESS,
                ADDRESS,
                JAVA_INT,
                ADDRESS,
                JAVA_INT,
                JAVA_INT,
                JAVA_INT);
        argmax = status("pm_argmax", ADDRESS, ADDRESS, ADDRESS, JAVA_INT, JAVA_INT, JAVA_INT);
    }

    /** The text at a {@code const char *} that is never NULL. */
    static String text(MemorySegment address) {
        return address.reinterpret(Long.MAX_VALUE).getString(0);
    }

    private MethodHandle status(String name, MemoryLayout... arguments) {
        return bind(name, FunctionDescriptor.of(JAVA_INT, arguments));
    }

    private MethodHandle bind(String name, FunctionDescriptor descriptor) {
        bound.put(name, descriptor);
        return library.find(name)
                .map(symbol -> Linker.nativeLinker().downcallHandle(symbol, descriptor))
                .orElseGet(() -> absent(name, descriptor.toMethodType()));
    }

    /** A library may lack a function; that is an error only when somebody calls it. */
    private static MethodHandle absent(String name, MethodType type) {
        var refuse = MethodHandles.foldArguments(
                MethodHandles.throwException(type.returnType(), KernelException.class), exception(name));
        return MethodHandles.dropArguments(refuse, 0, type.parameterList());
    }

    /** A handle that makes a new exception for each call, so that its stack is that of the call. */
    private static MethodHandle exception(String name) {
        try {
            return MethodHandles.lookup()
                    .findConstructor(KernelException.class, MethodType.methodType(void.class, String.class))
                    .bindTo(name + " is not in this back end");
        } catch (ReflectiveOperationException e) {
            throw new LinkageError(name, e);
        }
    }
}
