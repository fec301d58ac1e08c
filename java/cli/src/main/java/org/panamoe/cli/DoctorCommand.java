package org.panamoe.cli;

import java.io.IOException;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.Set;
import java.util.concurrent.Callable;
import org.panamoe.backend.Backend;
import org.panamoe.backend.Kernels;
import org.panamoe.bench.Machine;
import org.panamoe.jcuda.Cuda;
import org.panamoe.jcuda.Device;
import picocli.CommandLine.Command;
import picocli.CommandLine.Option;
import tools.jackson.databind.JsonNode;
import tools.jackson.databind.node.JsonNodeFactory;
import tools.jackson.databind.node.ObjectNode;

@Command(
        name = "doctor",
        sortOptions = false,
        header = "Says which back ends run on this machine, and how fast it can be.")
final class DoctorCommand implements Callable<Integer> {
    /** What a CPU must have for each instruction set of the cpu back end, as /proc/cpuinfo calls it. */
    private static final Map<String, Set<String>> FLAGS = new LinkedHashMap<>();

    static {
        FLAGS.put("generic", Set.of());
        FLAGS.put("avx2", Set.of("avx2", "fma", "f16c"));
        FLAGS.put("avx512", Set.of("avx512f", "avx512bw", "avx512dq", "avx512vl"));
        FLAGS.put("avx512vnni", Set.of("avx512f", "avx512bw", "avx512dq", "avx512vl", "avx512_vnni", "avx512vbmi"));
    }

    @Option(names = "--json", description = "One JSON object.")
    private boolean json;

    private final Console console;

    DoctorCommand(Console console) {
        this.console = console;
    }

    @Override
    public Integer call() throws IOException {
        var machine = Machine.read();
        var report = JsonNodeFactory.instance.objectNode();
        report.put("jdk", Runtime.version() + ", " + System.getProperty("java.vendor"));
        report.put(
                "os",
                "%s %s, %s"
                        .formatted(
                                System.getProperty("os.name"),
                                System.getProperty("os.version"),
                                System.getProperty("os.arch")));
        report.put("cpu", machine.cpu());
        machine.memory().ifPresent(bytes -> report.put("memory_bytes", bytes));
        machine.hugePages().ifPresent(mode -> report.put("transparent_huge_pages", mode));
        report.put("cache", cache());
        var backends = report.putObject("backends");
        for (String name : Backend.names()) backends.put(name, backend(name, report));
        devices(report.putObject("cuda"));
        var sets = report.putObject("instruction_sets");
        for (String isa : FLAGS.keySet()) instructionSet(isa, machine, sets.putObject(isa));
        if (json) console.println(report);
        else console.print(lines(report).toString());
        return 0;
    }

    /** Where libraries and the embedded model are extracted to. */
    private static String cache() {
        try {
            return String.valueOf(ModelOption.embedded().getParent());
        } catch (IOException e) {
            return Reason.of(e);
        }
    }

    /** Its description, or the reason why it is absent. */
    private static String backend(String name, ObjectNode report) {
        return switch (Backend.find(name)) {
            case Backend.Ready(var kernels) -> measured(name, kernels, report);
            case Backend.Absent(var reason) -> "absent: " + reason;
        };
    }

    private static String measured(String name, Kernels kernels, ObjectNode report) {
        try (kernels) {
            if (name.equals("cpu")) report.put("memory_bytes_per_second", kernels.readBandwidth());
            return kernels.describe();
        }
    }

    private static void devices(ObjectNode into) {
        var devices = into.putArray("devices");
        switch (Cuda.probe()) {
            case Cuda.Present(var present) -> present.forEach(device -> device(device, devices.addObject()));
            case Cuda.Absent(var reason) -> into.put("reason", reason);
        }
    }

    static void device(Device device, ObjectNode into) {
        into.put("index", device.index());
        into.put("name", device.name());
        into.put("compute_capability", device.computeCapability());
        into.put("multiprocessors", device.multiprocessors());
        into.put("memory_bytes", device.memoryBytes());
        if (device.clockKilohertz() > 0) into.put("clock_hertz", device.clockKilohertz() * 1000L);
        if (device.memoryClockKilohertz() > 0) into.put("memory_clock_hertz", device.memoryClockKilohertz() * 1000L);
        into.put("driver_cuda", device.driver());
        into.put("pci_bus_id", device.pciBusId());
        into.put("uuid", device.uuid());
    }

    private static void instructionSet(String isa, Machine machine, ObjectNode into) {
        into.put("cpu_has_it", machine.flags().containsAll(FLAGS.getOrDefault(isa, Set.of())));
        try {
            switch (Backend.find("cpu", "isa=" + isa)) {
                case Backend.Ready(var kernels) -> usable(kernels, into);
                case Backend.Absent(var reason) -> unusable(reason, into);
            }
        } catch (IllegalArgumentException e) { // refused
            unusable(Reason.of(e), into);
        }
    }

    private static void usable(Kernels kernels, ObjectNode into) {
        try (kernels) {
            into.put("usable", true);
            into.put("fma_flops_per_second", kernels.fmaRate());
            into.put("int8_operations_per_second", kernels.int8Rate());
        }
    }

    private static void unusable(String reason, ObjectNode into) {
        into.put("usable", false);
        into.put("reason", reason);
    }

    static Lines lines(ObjectNode report) {
        var lines = new Lines();
        lines.add("JDK", "%s", report.path("jdk").asString());
        lines.add("system", "%s", report.path("os").asString());
        lines.add("CPU", "%s", report.path("cpu").asString());
        if (report.has("memory_bytes"))
            lines.add("memory", "%s", Bytes.text(report.path("memory_bytes").asDouble()));
        if (report.has("memory_bytes_per_second"))
            lines.add(
                    "  read",
                    "%s/s",
                    Bytes.text(report.path("memory_bytes_per_second").asDouble()));
        if (report.has("transparent_huge_pages"))
            lines.add(
                    "  huge pages",
                    "%s (transparent)",
                    report.path("transparent_huge_pages").asString());
        lines.add("cache", "%s", report.path("cache").asString());
        lines.add("back ends", "");
        for (var backend : report.path("backends").properties())
            lines.add("  " + backend.getKey(), "%s", backend.getValue().asString());
        devices(report.path("cuda"), lines);
        lines.add("instructions", "");
        for (var entry : report.path("instruction_sets").properties()) {
            var set = entry.getValue();
            if (set.path("usable").asBoolean())
                lines.add(
                        "  " + entry.getKey(),
                        "%.1f GFLOP/s in fp32 FMA, %.1f GOP/s in int8 products",
                        set.path("fma_flops_per_second").asDouble() / 1e9,
                        set.path("int8_operations_per_second").asDouble() / 1e9);
            else
                lines.add(
                        "  " + entry.getKey(),
                        "%s: %s",
                        set.path("cpu_has_it").asBoolean() ? "the CPU has it, but" : "no",
                        set.path("reason").asString());
        }
        return lines;
    }

    private static void devices(JsonNode cuda, Lines lines) {
        if (cuda.has("reason"))
            lines.add("devices", "none: %s", cuda.path("reason").asString());
        else lines.add("devices", "");
        for (var device : cuda.path("devices"))
            lines.add(
                    "  " + device.path("index").asInt(),
                    "%s, compute capability %s, %d SMs%s, %s%s, driver for CUDA %s, %s",
                    device.path("name").asString(),
                    device.path("compute_capability").asString(),
                    device.path("multiprocessors").asInt(),
                    clock(device.path("clock_hertz")),
                    Bytes.text(device.path("memory_bytes").asDouble()),
                    clock(device.path("memory_clock_hertz")),
                    device.path("driver_cuda").asString(),
                    device.path("pci_bus_id").asString());
    }

    private static String clock(JsonNode hertz) {
        return hertz.isMissingNode() ? "" : " at %.0f MHz".formatted(hertz.asDouble() / 1e6);
    }
}
