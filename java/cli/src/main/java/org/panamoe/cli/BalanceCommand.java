package org.panamoe.cli;

import picocli.CommandLine;
import picocli.CommandLine.Command;

/** The load-balancing lab: each of its commands is a class of its own. */
@Command(
        name = "balance",
        sortOptions = false,
        header = "The load-balancing lab: routing methods on the same input, and what imbalance costs.",
        synopsisSubcommandLabel = "COMMAND")
final class BalanceCommand {
    private BalanceCommand() {}

    static CommandLine with(Console console) {
        return new CommandLine(new BalanceCommand())
                .addSubcommand(new BalanceCompareCommand(console))
                .addSubcommand(new BalanceReplayCommand(console))
                .addSubcommand(new BalanceSweepCommand(console))
                .addSubcommand(new BalancePlaceCommand(console))
                .addSubcommand(new BalanceCostCommand(console))
                .addSubcommand(new BalanceReportCommand(console));
    }
}
