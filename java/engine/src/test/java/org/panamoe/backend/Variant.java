package org.panamoe.backend;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import org.junit.jupiter.api.Assertions;
import org.junit.jupiter.api.Assumptions;
import org.panamoe.tensor.QuantFormat;

/** A way to run a back end: every instruction set that this CPU has, with one thread and with two. */
public record Variant(String name, String options) {
    private static final List<String> REQUIRED =
            List.of(System.getenv().getOrDefault("PANAMOE_REQUIRE", "").split("[ ,]+", -1));

    /** What each instruction set of libpanamoe_cpu needs, as /proc/cpuinfo calls it. */
    private static final String[][] INSTRUCTION_SETS = {
        {"generic"},
        {"avx2", "avx2", "fma", "f16c"},
        {"avx512", "avx512f", "avx512bw", "avx512dq", "avx512vl"},
        {"avx512vnni", "avx512f", "avx512bw", "avx512dq", "avx512vl", "avx512_vnni", "avx512vbmi"}
    };

    private static final List<String> HERE_ANYWAY = List.of("cpu", "reference");

    /** The native ones; of the others those that PANAMOE_REQUIRE names. */
    public static List<Variant> fast() {
        var flags = cpuFlags();
        var variants = new ArrayList<Variant>();
        for (var isa : INSTRUCTION_SETS)
            if (flags.containsAll(Arrays.asList(isa).subList(1, isa.length)))
                for (int threads = 1; threads <= 2; threads++)
                    variants.add(new Variant("cpu", "isa=%s threads=%d".formatted(isa[0], threads)));
        for (var other : REQUIRED)
            if (!other.isEmpty() && !HERE_ANYWAY.contains(other)) variants.add(new Variant(other, ""));
        return variants;
    }

    /** The reference, too. */
    public static List<Variant> all() {
        var variants = new ArrayList<>(fast());
        variants.add(new Variant("reference", ""));
        return variants;
    }

    /** Whether the back end has this weight format; what it lacks it refuses. */
    boolean has(QuantFormat format) {
        return !format.integer() || HERE_ANYWAY.contains(name);
    }

    /** Skips the test where the back end is absent, unless the environment's PANAMOE_REQUIRE asks for it. */
    public Kernels open() {
        return switch (Backend.find(name, options)) {
            case Backend.Ready(var kernels) -> kernels;
            case Backend.Absent(var reason) -> {
                if (REQUIRED.contains(name)) Assertions.fail(name + " is required, but " + reason);
                yield Assumptions.abort("back end " + name + ": " + reason);
            }
        };
    }

    @Override
    public String toString() {
        return (name + " " + options).strip();
    }

    private static List<String> cpuFlags() {
        try (var lines = Files.lines(Path.of("/proc/cpuinfo"))) {
            return lines.filter(line -> line.startsWith("flags"))
                    .findFirst()
                    .map(line -> List.of(line.split("\\s+", -1)))
                    .orElse(List.of());
        } catch (IOException e) {
            return List.of();
        }
    }
}
