package org.panamoe.benchmarks;

import java.io.FileOutputStream;
import java.io.IOException;
import java.io.PrintStream;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import org.openjdk.jmh.results.format.ResultFormatType;
import org.openjdk.jmh.runner.BenchmarkList;
import org.openjdk.jmh.runner.Defaults;
import org.openjdk.jmh.runner.NoBenchmarksException;
import org.openjdk.jmh.runner.Runner;
import org.openjdk.jmh.runner.RunnerException;
import org.openjdk.jmh.runner.format.OutputFormatFactory;
import org.openjdk.jmh.runner.options.CommandLineOptionException;
import org.openjdk.jmh.runner.options.CommandLineOptions;
import org.openjdk.jmh.runner.options.Options;
import org.openjdk.jmh.runner.options.OptionsBuilder;
import org.openjdk.jmh.util.UnCloseablePrintStream;

/**
 * JMH with all its options, and with what a number needs beside it: the machine and its load around every trial, in a
 * result that is written as JSON, too; at the end one line for each benchmark.
 */
public final class Main {
    /** The parameter that names a {@link Baseline}. */
    private static final String BASELINE = "baseline";

    private Main() {}

    public static void main(String[] args) throws IOException {
        CommandLineOptions asked;
        try {
            asked = new CommandLineOptions(args);
        } catch (CommandLineOptionException e) {
            org.openjdk.jmh.Main.main(args); // says what is wrong with them
            return;
        }
        if (runs(asked)) System.exit(run(asked));
        else org.openjdk.jmh.Main.main(args);
    }

    /** Whether it is not only to tell something. */
    private static boolean runs(CommandLineOptions asked) {
        return !(asked.shouldHelp()
                || asked.shouldList()
                || asked.shouldListWithParams()
                || asked.shouldListProfilers()
                || asked.shouldListResultFormats());
    }

    /** Returns the exit code. */
    static int run(CommandLineOptions asked) throws IOException {
        var trials = new Trials(OutputFormatFactory.createFormatInstance(
                output(asked), asked.verbosity().orElse(Defaults.VERBOSITY)));
        try {
            var results = new Runner(withoutAbsent(asked, trials), trials).run();
            if (asked.getResultFormat().orElse(Defaults.RESULT_FORMAT) == ResultFormatType.JSON)
                trials.addCards(Path.of(asked.getResult().orElse(Defaults.RESULT_FILE_PREFIX + ".json")), results);
            return 0;
        } catch (NoBenchmarksException e) {
            System.err.println("no benchmark matches %s; -l lists them".formatted(asked.getIncludes()));
        } catch (RunnerException e) {
            for (Throwable why = e; why != null; why = why.getCause()) System.err.println(why.getMessage());
        }
        return 1;
    }

    private static PrintStream output(Options asked) throws IOException {
        return asked.getOutput().hasValue()
                ? new PrintStream(new FileOutputStream(asked.getOutput().get()), false, System.out.charset())
                : new UnCloseablePrintStream(System.out, System.out.charset());
    }

    /**
     * JMH has no way for a benchmark to say that it cannot run here: it would fail, with a stack trace. So absent baselines
     * are not begun, unless they were asked for by name.
     */
    private static Options withoutAbsent(CommandLineOptions asked, Trials trials) {
        boolean any = BenchmarkList.defaultList().find(trials, asked.getIncludes(), asked.getExcludes()).stream()
                .anyMatch(each ->
                        each.getParams().hasValue() && each.getParams().get().containsKey(BASELINE));
        if (!any || asked.getParameter(BASELINE).hasValue()) return asked;
        List<Baseline> present = Arrays.stream(Baseline.values())
                .filter(baseline -> trials.isPresent(baseline))
                .toList();
        return new OptionsBuilder()
                .parent(asked)
                .param(BASELINE, present.stream().map(Enum::name).toArray(String[]::new))
                .build();
    }
}
