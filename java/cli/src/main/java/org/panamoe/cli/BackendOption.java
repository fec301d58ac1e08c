package org.panamoe.cli;

import org.jspecify.annotations.Nullable;
import org.panamoe.backend.Backend;
import org.panamoe.backend.Kernels;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;
import picocli.CommandLine.ParameterException;
import picocli.CommandLine.Spec;

/** What computes. */
final class BackendOption {
    static final int MOST_THREADS = 1024; // of a context of the cpu back end

    @Option(
            names = "--backend",
            paramLabel = "NAME",
            description =
                    "What computes: cpu, cuda, cudaemu (the CUDA kernels on the host, slow) or reference (slow, plain"
                            + " Java).")
    private String name = "cpu";

    @Option(
            names = "--threads",
            paramLabel = "N",
            description = "Threads of the cpu back end; without it one for each physical core.")
    private @Nullable Integer threads;

    @Spec(Spec.Target.MIXEE)
    @SuppressWarnings("NullAway.Init") // picocli sets it
    private CommandSpec command;

    /** Whether it computes on the host: these have all weight formats. */
    boolean onHost() {
        return name.equals("cpu") || name.equals("reference");
    }

    @Override
    public String toString() {
        return name;
    }

    /** Refuses what cannot be right on any machine, before anything is loaded. */
    void check() {
        if (!Backend.names().contains(name))
            throw wrong("--backend %s: the back ends are %s".formatted(name, String.join(", ", Backend.names())));
        if (threads != null && (threads < 1 || threads > MOST_THREADS))
            throw wrong("--threads %d: 1 to %d".formatted(threads, MOST_THREADS));
        if (threads != null && !name.equals("cpu")) throw wrong("--threads is for the cpu back end, not for " + name);
    }

    /** @throws IllegalStateException if the back end is absent, with the reason */
    Kernels open() {
        return Backend.require(name, threads == null ? "" : "threads=" + threads);
    }

    private ParameterException wrong(String message) {
        return new ParameterException(command.commandLine(), message);
    }
}
