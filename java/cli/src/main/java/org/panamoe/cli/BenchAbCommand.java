package org.panamoe.cli;

import java.io.IOException;
import java.lang.management.ManagementFactory;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.Callable;
import org.panamoe.bench.Comparison;
import picocli.CommandLine.Command;
import picocli.CommandLine.Option;
import picocli.CommandLine.Parameters;
import tools.jackson.core.JacksonException;
import tools.jackson.databind.JsonNode;
import tools.jackson.databind.json.JsonMapper;
import tools.jackson.databind.node.ArrayNode;
import tools.jackson.databind.node.ObjectNode;

@Command(
        name = "ab",
        sortOptions = false,
        header = "Measures this build and another one in turn, and compares them.",
        description =
                "%nBoth get the same arguments, each in a process of its own, one after the other in every turn. The exit"
                        + " code is 1 if this build is slower by more than --fail-over.%n",
        footer = "%nExample: panamoe bench ab --other ../before/panamoe decode --weights fp8 --experts 64%n")
final class BenchAbCommand implements Callable<Integer> {
    @Option(
            names = "--other",
            paramLabel = "LAUNCHER",
            required = true,
            description = "The other build's launcher: the file panamoe of its top folder.")
    @SuppressWarnings("NullAway.Init") // picocli sets it
    private Path other;

    @Option(names = "--turns", paramLabel = "N", description = "How often each build is measured.")
    private int turns = 3;

    @Option(names = "--fail-over", paramLabel = "PERCENT", description = "How much slower is too slow: 5%%.")
    private String failOver = "5%";

    @Parameters(
            paramLabel = "ARGS",
            arity = "1..*",
            description = "decode, prefill or kernels, with its options but those that tell how to tell.")
    private List<String> arguments = List.of();

    private final Console console;

    BenchAbCommand(Console console) {
        this.console = console;
    }

    @Override
    public Integer call() throws IOException, InterruptedException {
        double most = BenchCompareCommand.share(failOver);
        if (turns < 1 || turns > 1000)
            throw new IllegalArgumentException("--turns %d: not in [1, 1000]".formatted(turns));
        List<ObjectNode> before = new ArrayList<>(), now = new ArrayList<>();
        for (int turn = 0; turn < turns; turn++) {
            before.add(measure(List.of(other.toAbsolutePath().toString())));
            now.add(measure(itself()));
        }
        return BenchCompareCommand.tell(console, Comparison.of(joined(before), joined(now), false), most);
    }

    /** This program, as it was started. */
    private static List<String> itself() {
        var command = new ArrayList<String>();
        command.add(Path.of(System.getProperty("java.home"), "bin", "java").toString());
        command.addAll(ManagementFactory.getRuntimeMXBean().getInputArguments());
        command.addAll(List.of("-cp", System.getProperty("java.class.path"), Main.class.getName()));
        return command;
    }

    private ObjectNode measure(List<String> program) throws IOException, InterruptedException {
        var command = new ArrayList<>(program);
        command.add("bench");
        command.addAll(arguments);
        command.add("--json");
        if (console.isWatched()) console.err().println(String.join(" ", command.subList(0, 1)));
        var process = new ProcessBuilder(command)
                .redirectError(ProcessBuilder.Redirect.INHERIT)
                .start();
        process.getOutputStream().close();
        byte[] out = process.getInputStream().readAllBytes();
        int code = process.waitFor();
        if (code != 0)
            throw new IllegalStateException("%s bench %s ended with exit code %d"
                    .formatted(program.getFirst(), String.join(" ", arguments), code));
        try {
            if (JsonMapper.shared().readTree(out) instanceof ObjectNode report) return report;
        } catch (JacksonException e) {
            throw new IllegalStateException(program.getFirst() + " wrote no JSON: " + e.getOriginalMessage(), e);
        }
        throw new IllegalStateException(program.getFirst() + " wrote no JSON object");
    }

    /** One report of several of the same results: all samples of each. */
    private static ObjectNode joined(List<ObjectNode> reports) {
        var all = reports.getFirst().deepCopy();
        for (var report : reports.subList(1, reports.size())) {
            JsonNode results = report.path("results");
            for (int i = 0; i < results.size(); i++)
                if (all.path("results").path(i).path("samples") instanceof ArrayNode samples)
                    results.path(i).path("samples").forEach(samples::add);
        }
        return all;
    }
}
