package org.panamoe.cli;

import picocli.CommandLine;
import picocli.CommandLine.Command;

/** Measuring: each of its commands is a class of its own. */
@Command(
        name = "bench",
        sortOptions = false,
        header = "Measures models of published shapes on random weights, and their kernels, and compares measurements.",
        synopsisSubcommandLabel = "COMMAND")
final class BenchCommand {
    private BenchCommand() {}

    static CommandLine with(Console console) {
        return new CommandLine(new BenchCommand())
                .addSubcommand(new BenchDecodeCommand(console))
                .addSubcommand(new BenchPrefillCommand(console))
                .addSubcommand(new BenchKernelsCommand(console))
                .addSubcommand(new BenchCompareCommand(console))
                .addSubcommand(new BenchReportCommand(console))
                // What follows decode, prefill or kernels is theirs.
                .addSubcommand(new CommandLine(new BenchAbCommand(console)).setStopAtPositional(true));
    }
}
