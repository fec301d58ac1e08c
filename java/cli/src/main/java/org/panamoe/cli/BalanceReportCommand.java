package org.panamoe.cli;

import java.io.IOException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.Callable;
import org.panamoe.lab.cost.DistillationCost;
import org.panamoe.lab.cost.ServingCost;
import org.panamoe.lab.cost.TrainingCost;
import org.panamoe.lab.figure.PlacementFigures;
import org.panamoe.lab.figure.RoutingFigures;
import org.panamoe.lab.routing.ResultFiles;
import org.panamoe.lab.routing.Row;
import org.panamoe.report.Page;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;
import picocli.CommandLine.Spec;

@Command(
        name = "report",
        sortOptions = false,
        header = "One HTML page of results: curves, trade-offs, heat maps, placement and cost.",
        description =
                "%nThe page needs no network and no other file. --results are the JSON lines of balance compare or sweep;"
                        + " --input or --case adds placement, and what it would save, by the options of balance cost.%n")
final class BalanceReportCommand implements Callable<Integer> {
    @Option(names = "--output", paramLabel = "FILE.html", required = true, description = "The page to write.")
    @SuppressWarnings("NullAway.Init") // picocli sets it
    private Path output;

    @Option(
            names = "--results",
            paramLabel = "FILE.jsonl",
            description = "Of balance compare --output or balance sweep; may be given several times.")
    private List<Path> results = List.of();

    @Mixin
    private final MachinesOption machines = new MachinesOption();

    @Option(names = "--accounts", description = "Also DeepSeek's accounts, as panamoe cost prints them.")
    private boolean accounts;

    @Option(names = "--title", paramLabel = "TEXT", defaultValue = "Load balancing", description = "Of the page.")
    private String title = "Load balancing";

    @Spec
    @SuppressWarnings("NullAway.Init") // picocli sets it
    private CommandSpec spec;

    private final Console console;

    BalanceReportCommand(Console console) {
        this.console = console;
    }

    @Override
    public Integer call() throws IOException {
        OutputFile.check(output);
        if (results.isEmpty() && !machines.isGiven() && !accounts)
            throw new IllegalArgumentException("nothing to report: --results, --input, --case or --accounts says what");
        var rows = new ArrayList<Row>();
        for (var file : results) rows.addAll(ResultFiles.read(file));
        if (!results.isEmpty() && rows.isEmpty())
            throw new IllegalArgumentException("--results %s: no results in it".formatted(results.getFirst()));
        var page = new Page(title, summary(rows), ReportPage.origin(rows, spec));
        if (!rows.isEmpty()) RoutingFigures.add(page, rows);
        if (machines.isGiven()) {
            var loads = machines.loads();
            var layer = machines.layer(loads);
            PlacementFigures.addLoads(page, loads.machines());
            PlacementFigures.addOutlook(page, loads.history(), loads.machines(), machines.outlook(loads, layer), layer);
        }
        if (accounts) {
            var v3 = TrainingCost.deepSeekV3();
            PlacementFigures.addAccount(page, "Training DeepSeek-V3", v3.lines());
            PlacementFigures.addAccount(
                    page, "A day of serving", ServingCost.deepSeekDay().lines());
            PlacementFigures.addAccount(
                    page, "Distilling instead", DistillationCost.r1Students().lines(v3));
        }
        ReportPage.write(page, output);
        console.println(output);
        return 0;
    }

    private String summary(List<Row> rows) {
        var parts = new ArrayList<String>();
        if (!rows.isEmpty()) parts.add(ReportPage.routing(rows));
        if (machines.isGiven()) parts.add("Placement of experts on GPUs by their load, and what it would save.");
        if (accounts) parts.add("What training, serving and distilling cost.");
        return String.join(" ", parts);
    }
}
