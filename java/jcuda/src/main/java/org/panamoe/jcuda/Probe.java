package org.panamoe.jcuda;

import static java.lang.foreign.ValueLayout.ADDRESS;
import static java.lang.foreign.ValueLayout.JAVA_INT;

import java.io.FileDescriptor;
import java.io.FileOutputStream;
import java.io.PrintStream;
import java.lang.foreign.Arena;
import java.lang.foreign.FunctionDescriptor;
import java.lang.foreign.Linker;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.SymbolLookup;
import java.nio.charset.StandardCharsets;
import java.util.HexFormat;
import java.util.List;
import jcuda.driver.CUdevice;
import jcuda.driver.CUdevice_attribute;
import jcuda.driver.CUuuid;
import jcuda.driver.JCudaDriver;

/**
 * The program of a {@link ProbeProcess}: it may die on the way. First it asks the driver itself, and whether it has
 * what JCuda will call, then JCuda.
 */
final class Probe {
    private static final String LIBRARY = "libcuda.so.1";
    private static final int SUCCESS = 0;

    /** What this module calls through JCuda, by the driver's names. JCuda binds late: a missing one ends the process. */
    private static final List<String> NEEDED = List.of(
            "cuCtxGetDevice",
            "cuCtxPopCurrent_v2",
            "cuCtxPushCurrent_v2",
            "cuDeviceGet",
            "cuDeviceGetAttribute",
            "cuDeviceGetCount",
            "cuDeviceGetName",
            "cuDeviceGetPCIBusId",
            "cuDeviceGetUuid",
            "cuDevicePrimaryCtxRelease_v2",
            "cuDevicePrimaryCtxRetain",
            "cuDeviceTotalMem_v2",
            "cuEventCreate",
            "cuEventDestroy_v2",
            "cuEventElapsedTime",
            "cuEventRecord",
            "cuEventSynchronize",
            "cuInit",
            "cuMemAlloc_v2",
            "cuMemFree_v2",
            "cuStreamCreate",
            "cuStreamDestroy_v2",
            "cuStreamGetCtx",
            "cuStreamSynchronize");

    private final PrintStream out;

    private Probe(PrintStream out) {
        this.out = out;
    }

    public static void main(String[] args) {
        var out = new PrintStream(new FileOutputStream(FileDescriptor.out), false, StandardCharsets.UTF_8);
        var probe = new Probe(out);
        try {
            int version = probe.askDriver();
            probe.askJCuda(version);
        } catch (Absence e) {
            Report.absent(out, String.valueOf(e.getMessage()));
        } catch (LinkageError e) {
            Report.absent(out, "JCuda cannot be loaded: " + innermost(String.valueOf(e)));
        } catch (Throwable e) {
            Report.absent(out, String.valueOf(e));
        }
        Report.end(out);
    }

    /** A reason. */
    private static final class Absence extends Exception {
        private static final long serialVersionUID = 1L;

        Absence(String reason) {
            super(reason);
        }
    }

    /** Returns the CUDA version that the driver speaks. */
    private int askDriver() throws Throwable {
        try (var arena = Arena.ofConfined()) {
            var number = arena.allocate(JAVA_INT);
            var cuda = load();
            call(cuda, "cuDriverGetVersion", number);
            int version = number.get(JAVA_INT, 0);
            Report.step(out, "cuInit");
            var init = Linker.nativeLinker()
                    .downcallHandle(symbol(cuda, "cuInit"), FunctionDescriptor.of(JAVA_INT, JAVA_INT));
            check(cuda, "cuInit", (int) init.invokeExact(0));
            call(cuda, "cuDeviceGetCount", number);
            if (number.get(JAVA_INT, 0) == 0) throw new Absence("the NVIDIA driver is here, but has no device");
            for (var name : NEEDED) symbol(cuda, name);
            return version;
        }
    }

    private SymbolLookup load() throws Absence {
        Report.step(out, "loading " + LIBRARY);
        try {
            return SymbolLookup.libraryLookup(LIBRARY, Arena.global());
        } catch (IllegalArgumentException e) {
            throw new Absence("no NVIDIA driver: " + LIBRARY + " cannot be loaded");
        }
    }

    private static MemorySegment symbol(SymbolLookup cuda, String name) throws Absence {
        return cuda.find(name)
                .orElseThrow(() -> new Absence(LIBRARY + " has no function " + name + ", which JCuda needs"));
    }

    /** A function with one result. */
    private void call(SymbolLookup cuda, String name, MemorySegment result) throws Throwable {
        Report.step(out, name);
        var function =
                Linker.nativeLinker().downcallHandle(symbol(cuda, name), FunctionDescriptor.of(JAVA_INT, ADDRESS));
        check(cuda, name, (int) function.invokeExact(result));
    }

    private static void check(SymbolLookup cuda, String function, int status) throws Throwable {
        if (status != SUCCESS)
            throw new Absence("%s failed with %d (%s: %s)"
                    .formatted(
                            function,
                            status,
                            text(cuda, "cuGetErrorName", status),
                            text(cuda, "cuGetErrorString", status)));
    }

    private static String text(SymbolLookup cuda, String function, int status) throws Throwable {
        var address = cuda.find(function);
        if (address.isEmpty()) return "?";
        try (var arena = Arena.ofConfined()) {
            var text = arena.allocate(ADDRESS);
            int found = (int) Linker.nativeLinker()
                    .downcallHandle(address.get(), FunctionDescriptor.of(JAVA_INT, JAVA_INT, ADDRESS))
                    .invokeExact(status, text);
            return found == SUCCESS ? text.get(ADDRESS, 0).reinterpret(1024).getString(0) : "?";
        }
    }

    private void askJCuda(int version) {
        Report.step(out, "JCuda, cuInit");
        Status.check("cuInit", JCudaDriver.cuInit(0));
        Report.step(out, "JCuda, cuDeviceGetCount");
        int[] count = {0};
        Status.check("cuDeviceGetCount", JCudaDriver.cuDeviceGetCount(count));
        for (int i = 0; i < count[0]; i++) {
            Report.step(out, "JCuda, reading device " + i);
            Report.device(out, device(i, version));
        }
        Report.step(out, "the process's end");
    }

    private static Device device(int index, int version) {
        var device = new CUdevice();
        Status.check("cuDeviceGet", JCudaDriver.cuDeviceGet(device, index));
        byte[] name = new byte[256];
        Status.check("cuDeviceGetName", JCudaDriver.cuDeviceGetName(name, name.length, device));
        long[] bytes = {0};
        Status.check("cuDeviceTotalMem", JCudaDriver.cuDeviceTotalMem(bytes, device));
        String[] bus = {""};
        Status.check("cuDeviceGetPCIBusId", JCudaDriver.cuDeviceGetPCIBusId(bus, 64, device));
        var uuid = new CUuuid();
        Status.check("cuDeviceGetUuid", JCudaDriver.cuDeviceGetUuid(uuid, device));
        return new Device(
                index,
                beforeNul(new String(name, StandardCharsets.UTF_8)),
                attribute(device, CUdevice_attribute.CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR),
                attribute(device, CUdevice_attribute.CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR),
                attribute(device, CUdevice_attribute.CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT),
                bytes[0],
                attributeOrZero(device, CUdevice_attribute.CU_DEVICE_ATTRIBUTE_CLOCK_RATE),
                attributeOrZero(device, CUdevice_attribute.CU_DEVICE_ATTRIBUTE_MEMORY_CLOCK_RATE),
                version,
                beforeNul(bus[0]),
                text(uuid.bytes));
    }

    private static int attribute(CUdevice device, int attribute) {
        int[] value = {0};
        Status.check("cuDeviceGetAttribute", JCudaDriver.cuDeviceGetAttribute(value, attribute, device));
        return value[0];
    }

    /** A virtual device may not know its clocks. */
    private static int attributeOrZero(CUdevice device, int attribute) {
        int[] value = {0};
        return JCudaDriver.cuDeviceGetAttribute(value, attribute, device) == SUCCESS ? value[0] : 0;
    }

    private static String beforeNul(String text) {
        int end = text.indexOf('\0');
        return (end < 0 ? text : text.substring(0, end)).strip();
    }

    /** GPU-8 digits-4-4-4-12. */
    private static String text(byte[] uuid) {
        return "GPU-"
                + HexFormat.of().formatHex(uuid).replaceFirst("(.{8})(.{4})(.{4})(.{4})(.{12})", "$1-$2-$3-$4-$5");
    }

    /** JCuda packs whole stack traces into its message; the last error named there is the reason. */
    private static String innermost(String text) {
        return text.lines().filter(line -> line.startsWith("java.")).reduce(text, (first, second) -> second);
    }
}
