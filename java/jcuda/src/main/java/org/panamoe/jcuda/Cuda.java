package org.panamoe.jcuda;

import java.time.Duration;
import java.util.List;

/** Whether this machine has CUDA devices that JCuda can use. */
public final class Cuda {
    /** By name: the class itself knows JCuda. */
    private static final String PROBE = "org.panamoe.jcuda.Probe";

    /** The driver may have to wake its devices, one after the other. */
    private static final Duration PATIENCE = Duration.ofSeconds(30);

    /** Either {@link Present} or {@link Absent}. */
    public sealed interface Found {}

    /** At least one device; JCuda's driver part works. */
    public record Present(List<Device> devices) implements Found {
        public Present {
            devices = List.copyOf(devices);
        }
    }

    public record Absent(String reason) implements Found {}

    private Cuda() {}

    /**
     * Asks in a process of its own, so that a driver that crashes or hangs is a reason and no end. In this process no
     * class of JCuda is loaded and nothing is printed. Without a driver it takes as long as a JVM to start.
     */
    public static Found probe() {
        return probe(PATIENCE);
    }

    /** @param limit after which a driver that has not answered is absent */
    public static Found probe(Duration limit) {
        return ProbeProcess.ofThisProgram().run(PROBE, limit);
    }

    /** @throws IllegalStateException if there is none, with the reason */
    public static List<Device> require() {
        return switch (probe()) {
            case Present(var devices) -> devices;
            case Absent(var reason) -> throw new IllegalStateException("CUDA: " + reason);
        };
    }
}
