package org.panamoe.cli;

import java.io.IOException;
import java.nio.file.FileSystemException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.concurrent.Callable;
import org.panamoe.bench.Comparison;
import picocli.CommandLine.Command;
import picocli.CommandLine.Option;
import picocli.CommandLine.Parameters;
import tools.jackson.core.JacksonException;
import tools.jackson.databind.JsonNode;
import tools.jackson.databind.json.JsonMapper;

@Command(
        name = "compare",
        sortOptions = false,
        header = "Compares two reports that were written with --json.",
        description =
                "%nThe ratio of tokens (of kernels: calls) per second, with the interval that the 95 %% intervals of both medians leave. The exit"
                        + " code is 1 if a result of B is slower than that of A by more than --fail-over, wherever in their"
                        + " intervals both lie.%n")
final class BenchCompareCommand implements Callable<Integer> {
    @Parameters(paramLabel = "A.json", description = "The report to compare with.")
    @SuppressWarnings("NullAway.Init") // picocli sets it
    private Path first;

    @Parameters(paramLabel = "B.json", description = "The report that is judged.")
    @SuppressWarnings("NullAway.Init") // picocli sets it
    private Path other;

    @Option(names = "--fail-over", paramLabel = "PERCENT", description = "How much slower is too slow: 5%%.")
    private String failOver = "5%";

    @Option(names = "--any-machine", description = "Compares reports of different machines, too.")
    private boolean anyMachine;

    private final Console console;

    BenchCompareCommand(Console console) {
        this.console = console;
    }

    @Override
    public Integer call() throws IOException {
        double most = share(failOver);
        var comparisons = Comparison.of(report(first), report(other), anyMachine);
        return tell(console, comparisons, most);
    }

    /** Prints them; 1 if one is slower by more than {@code most}. */
    static int tell(Console console, Iterable<Comparison> comparisons, double most) throws IOException {
        boolean slower = false;
        for (var c : comparisons) {
            boolean tooSlow = c.slower(most);
            slower |= tooSlow;
            console.println("%s: %.4g -> %.4g %s, x %.3f (%.3f to %.3f): %s"
                    .formatted(
                            c.what(),
                            c.first(),
                            c.other(),
                            c.unit(),
                            c.ratio(),
                            c.low(),
                            c.high(),
                            tooSlow ? "TOO SLOW" : c.verdict()));
        }
        return slower ? 1 : 0;
    }

    static double share(String percent) {
        try {
            double share = Double.parseDouble(percent.replaceFirst("%$", "")) / 100;
            if (share >= 0 && share < 1) return share;
        } catch (NumberFormatException e) {
            // told below
        }
        throw new IllegalArgumentException("--fail-over %s: a percentage from 0%% to below 100%%".formatted(percent));
    }

    static JsonNode report(Path file) throws IOException {
        try {
            return JsonMapper.shared().readTree(Files.readAllBytes(file));
        } catch (FileSystemException e) {
            throw new IOException(file + ": " + Reason.problem(e), e);
        } catch (JacksonException e) {
            throw new IllegalArgumentException(file + ": not JSON: " + e.getOriginalMessage(), e);
        }
    }
}
