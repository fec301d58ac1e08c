package org.panamoe.cli;

import java.io.IOException;
import java.nio.file.Path;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.concurrent.Callable;
import org.panamoe.bench.figure.BenchFigures;
import org.panamoe.report.Page;
import picocli.CommandLine.Command;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;
import picocli.CommandLine.Parameters;
import picocli.CommandLine.Spec;
import tools.jackson.databind.JsonNode;

@Command(
        name = "report",
        sortOptions = false,
        header = "One HTML page of what was written with --json: rooflines, scaling, tables, the machine.",
        description = "%nThe page needs no network and no other file. Roofs are those that each file's run measured.%n",
        footer = {
            "%nExample:",
            "  panamoe bench kernels --json --output kernels.json",
            "  panamoe bench decode --experts 64 --depth 0,4096 --json --output decode.json",
            "  panamoe bench report kernels.json decode.json --output bench.html%n"
        })
final class BenchReportCommand implements Callable<Integer> {
    @Parameters(paramLabel = "FILE.json", arity = "1..*", description = "Of bench kernels, decode or prefill.")
    @SuppressWarnings("NullAway.Init") // picocli sets it
    private List<Path> files;

    @Option(names = "--output", paramLabel = "FILE.html", required = true, description = "The page to write.")
    @SuppressWarnings("NullAway.Init") // picocli sets it
    private Path output;

    @Option(names = "--title", paramLabel = "TEXT", description = "Of the page.")
    private String title = "Kernels against the machine";

    @Spec
    @SuppressWarnings("NullAway.Init") // picocli sets it
    private CommandSpec spec;

    private final Console console;

    BenchReportCommand(Console console) {
        this.console = console;
    }

    @Override
    public Integer call() throws IOException {
        OutputFile.check(output);
        var reports = new LinkedHashMap<String, JsonNode>();
        for (var file : files)
            if (reports.put(file.toString(), BenchCompareCommand.report(file)) != null)
                throw new IllegalArgumentException(file + ": given twice");
        var page = new Page(
                title,
                "Medians of what was measured, against what the machine could do in the same run.",
                ReportPage.origin("1", spec));
        BenchFigures.add(page, reports);
        ReportPage.write(page, output);
        console.println(output);
        return 0;
    }
}
