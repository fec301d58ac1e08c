package org.panamoe.bench;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Comparator;
import java.util.List;
import java.util.Optional;
import java.util.Set;
import java.util.TreeSet;
import java.util.stream.Stream;
import org.panamoe.backend.Kernels;
import tools.jackson.databind.node.JsonNodeFactory;
import tools.jackson.databind.node.ObjectNode;

/**
 * What Linux says of the machine; elsewhere less is known.
 *
 * @param flags of the CPU, as /proc/cpuinfo calls them
 * @param caches of its first core: "L2 1024K"
 * @param memory bytes
 * @param available bytes that can be taken without swapping
 */
public record Machine(
        String cpu,
        Set<String> flags,
        List<String> caches,
        Optional<Long> memory,
        Optional<Long> available,
        Optional<String> hugePages) {
    public static Machine read() {
        var cpuinfo = lines("/proc/cpuinfo");
        var meminfo = lines("/proc/meminfo");
        return new Machine(
                value(cpuinfo, "model name").orElse("unknown"),
                words(value(cpuinfo, "flags").orElse("")),
                caches(cpuinfo),
                value(meminfo, "MemTotal").map(Machine::kilobytes),
                available(meminfo),
                lines("/sys/kernel/mm/transparent_hugepage/enabled").stream()
                        .findFirst()
                        .map(line -> line.replaceAll(".*\\[|\\].*", "")));
    }

    /** For a result: which machine this was, so that results of another one are not compared with it. */
    public ObjectNode json() {
        var json = JsonNodeFactory.instance.objectNode();
        json.put("cpu", cpu);
        json.put("processors", Runtime.getRuntime().availableProcessors());
        json.put("flags", String.join(" ", new TreeSet<>(flags)));
        var each = json.putArray("caches");
        caches.forEach(each::add);
        memory.ifPresent(bytes -> json.put("memory_bytes", bytes));
        hugePages.ifPresent(mode -> json.put("transparent_huge_pages", mode));
        json.put(
                "os",
                "%s %s %s"
                        .formatted(
                                System.getProperty("os.name"),
                                System.getProperty("os.version"),
                                System.getProperty("os.arch")));
        json.put("jdk", Runtime.version() + ", " + System.getProperty("java.vendor"));
        return json;
    }

    /** The same with how busy it was since {@code before}, and with what computed. */
    public ObjectNode json(Load before, Kernels kernels) {
        return json(before, kernels.describe());
    }

    /** @param backend as it describes itself */
    public ObjectNode json(Load before, String backend) {
        var json = json();
        var now = Load.now();
        json.put("load_average_before", before.average());
        json.put("load_average_after", now.average());
        json.put("stolen", now.stolenSince(before));
        json.put("backend", backend);
        return json;
    }

    /**
     * Refuses what would not fit.
     *
     * @param what needs it, in the plural
     * @throws IllegalStateException if less is available
     */
    public void require(long bytes, String what) {
        available.ifPresent(there -> {
            if (bytes > there)
                throw new IllegalStateException(
                        "%s need %.1f GB, %.1f GB are available".formatted(what, bytes / 1e9, there / 1e9));
        });
    }

    /**
     * How busy the machine is.
     *
     * @param average runnable threads over the last minute; NaN where nobody knows
     * @param ticks of all processors since the start
     * @param stolen those of them that a virtual machine was ready and did not run
     */
    public record Load(double average, long ticks, long stolen) {
        public static Load now() {
            double average = lines("/proc/loadavg").stream()
                    .findFirst()
                    .map(line -> Double.parseDouble(line.split(" ", 2)[0]))
                    .orElse(Double.NaN);
            long[] ticks = value(lines("/proc/stat"), "cpu ", ' ').stream()
                    .flatMap(line -> Stream.of(line.split(" +", -1)))
                    .mapToLong(Long::parseLong)
                    .limit(8) // guests' ticks are users' ticks once more
                    .toArray();
            long all = 0;
            for (long each : ticks) all += each;
            return new Load(average, all, ticks.length < 8 ? 0 : ticks[7]);
        }

        /** The share of the time since then that went to others. */
        public double stolenSince(Load before) {
            return ticks == before.ticks ? 0 : (double) (stolen - before.stolen) / (ticks - before.ticks);
        }
    }

    /** What lies between blanks: some kernels leave several where a flag is hidden, and may name one twice. */
    public static Set<String> words(String text) {
        return text.isBlank() ? Set.of() : Set.copyOf(List.of(text.strip().split("\\s+", -1)));
    }

    /** Some virtual machines hide all but one, of which they do not say the level. */
    private static List<String> caches(List<String> cpuinfo) {
        Path folder = Path.of("/sys/devices/system/cpu/cpu0/cache");
        if (!Files.isDirectory(folder))
            return value(cpuinfo, "cache size").map("cache "::concat).stream().toList();
        try (var entries = Files.list(folder)) {
            return entries.filter(entry -> Files.exists(entry.resolve("size")))
                    .map(entry ->
                            "L%s %s %s".formatted(first(entry, "level"), first(entry, "type"), first(entry, "size")))
                    .sorted()
                    .toList();
        } catch (IOException e) {
            return List.of();
        }
    }

    /** What the machine has to give, but no more than the control group may have. */
    private static Optional<Long> available(List<String> meminfo) {
        var limit = lines("/sys/fs/cgroup/memory.max").stream()
                .filter(text -> text.matches("[0-9]{1,18}")) // or "max"
                .map(Long::valueOf);
        return Stream.concat(value(meminfo, "MemAvailable").map(Machine::kilobytes).stream(), limit)
                .min(Comparator.naturalOrder());
    }

    private static String first(Path folder, String file) {
        return lines(folder.resolve(file).toString()).stream().findFirst().orElse("?");
    }

    private static long kilobytes(String text) {
        return Long.parseLong(text.replace(" kB", "")) * 1024;
    }

    private static Optional<String> value(List<String> lines, String key) {
        return value(lines, key, ':');
    }

    private static Optional<String> value(List<String> lines, String key, char end) {
        return lines.stream()
                .filter(line -> line.startsWith(key))
                .findFirst()
                .map(line -> line.substring(line.indexOf(end) + 1).strip());
    }

    private static List<String> lines(String file) {
        try {
            return Files.readAllLines(Path.of(file));
        } catch (IOException e) {
            return List.of(); // another system, or not for us to see
        }
    }
}
