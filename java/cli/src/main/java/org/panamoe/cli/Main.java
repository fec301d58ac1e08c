package org.panamoe.cli;

import java.io.FileDescriptor;
import java.io.FileOutputStream;
import java.io.PrintStream;
import java.io.PrintWriter;
import java.nio.charset.StandardCharsets;
import java.util.List;
import java.util.Locale;
import picocli.CommandLine;
import picocli.CommandLine.Command;
import picocli.CommandLine.Option;
import picocli.CommandLine.ParameterException;
import picocli.CommandLine.ScopeType;

/** The program. Exit codes: 0 done, 1 failed, 2 used wrongly. */
@Command(
        name = "panamoe",
        scope = ScopeType.INHERIT,
        description = "Runs DeepSeek-V3 models on the JVM, with native kernels.",
        synopsisSubcommandLabel = "COMMAND",
        mixinStandardHelpOptions = true,
        versionProvider = Version.class,
        showDefaultValues = true,
        usageHelpAutoWidth = true)
public final class Main {
    @Option(names = "--verbose", scope = ScopeType.INHERIT, description = "Where a failure came from, in full.")
    private boolean verbose;

    private Main() {}

    public static void main(String... args) {
        Locale.setDefault(Locale.ROOT); // numbers look the same everywhere
        var out = new FileOutputStream(FileDescriptor.out);
        var err = new PrintStream(new FileOutputStream(FileDescriptor.err), true, StandardCharsets.UTF_8);
        System.exit(run(args, new Console(out, err, true)));
    }

    /** One run of the program; returns its exit code. */
    static int run(String[] args, Console console) {
        var main = new Main();
        var line = new CommandLine(main);
        commands(args, console).forEach(line::addSubcommand);
        line.setExpandAtFiles(false); // a prompt may begin with @
        line.setOut(new PrintWriter(console.out(), true, StandardCharsets.UTF_8))
                .setErr(new PrintWriter(console.err(), true, StandardCharsets.UTF_8))
                .setParameterExceptionHandler((e, given) -> misused(e, console))
                .setExecutionExceptionHandler((e, command, parsed) -> main.failed(e, console));
        try {
            return line.execute(args);
        } catch (Error e) { // out of memory; picocli passes it on
            return main.failed(e, console);
        }
    }

    /** Only the command that is asked for, if it comes first: to describe all to picocli takes a tenth of a second. */
    private static List<Object> commands(String[] args, Console console) {
        return switch (args.length == 0 ? "" : args[0]) {
            case "generate" -> List.of(new GenerateCommand(console));
            case "logits" -> List.of(new LogitsCommand(console));
            case "trace" -> List.of(new TraceCommand(console));
            case "perplexity" -> List.of(new PerplexityCommand(console));
            case "inspect" -> List.of(new InspectCommand(console));
            case "doctor" -> List.of(new DoctorCommand(console));
            case "quantize" -> List.of(new QuantizeCommand(console));
            case "bench" -> List.of(BenchCommand.with(console));
            case "balance" -> List.of(BalanceCommand.with(console));
            case "cost" -> List.of(new CostCommand(console));
            default ->
                List.of(
                        new GenerateCommand(console),
                        new LogitsCommand(console),
                        new TraceCommand(console),
                        new PerplexityCommand(console),
                        new InspectCommand(console),
                        new DoctorCommand(console),
                        new QuantizeCommand(console),
                        BenchCommand.with(console),
                        BalanceCommand.with(console),
                        new CostCommand(console));
        };
    }

    private static int misused(ParameterException e, Console console) {
        String command = e.getCommandLine().getCommandSpec().qualifiedName();
        console.err().printf("panamoe: %s (see %s --help)%n", Reason.of(e), command);
        return CommandLine.ExitCode.USAGE;
    }

    private int failed(Throwable e, Console console) {
        console.err().println("panamoe: " + Reason.of(e));
        if (verbose) e.printStackTrace(console.err());
        return CommandLine.ExitCode.SOFTWARE;
    }
}
