package org.panamoe.cli;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Optional;
import java.util.Set;

/** What Linux says of the machine; elsewhere less is known. */
record Machine(String cpu, Set<String> flags, Optional<Long> memory, Optional<String> hugePages) {
    static Machine read() {
        var cpuinfo = lines("/proc/cpuinfo");
        return new Machine(
                value(cpuinfo, "model name").orElse("unknown"),
                words(value(cpuinfo, "flags").orElse("")),
                value(lines("/proc/meminfo"), "MemTotal").map(text -> Long.parseLong(text.replace(" kB", "")) * 1024),
                lines("/sys/kernel/mm/transparent_hugepage/enabled").stream()
                        .findFirst()
                        .map(line -> line.replaceAll(".*\\[|\\].*", "")));
    }

    /** What lies between blanks: some kernels leave several where a flag is hidden, and may name one twice. */
    static Set<String> words(String text) {
        return text.isBlank() ? Set.of() : Set.copyOf(List.of(text.strip().split("\\s+", -1)));
    }

    private static Optional<String> value(List<String> lines, String key) {
        return lines.stream()
                .filter(line -> line.startsWith(key))
                .findFirst()
                .map(line -> line.substring(line.indexOf(':') + 1).strip());
    }

    private static List<String> lines(String file) {
        try {
            return Files.readAllLines(Path.of(file));
        } catch (IOException e) {
            return List.of(); // another system, or not for us to see
        }
    }
}
