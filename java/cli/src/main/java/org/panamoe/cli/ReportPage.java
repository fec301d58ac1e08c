package org.panamoe.cli;

import java.io.IOException;
import java.io.OutputStreamWriter;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.List;
import java.util.stream.Collectors;
import org.panamoe.lab.figure.RoutingFigures;
import org.panamoe.lab.routing.Row;
import org.panamoe.report.Origin;
import org.panamoe.report.Page;
import picocli.CommandLine.Model.CommandSpec;

/** Pages, and what made them. */
final class ReportPage {
    private ReportPage() {}

    /** A page of balancing methods alone. */
    static Page of(String title, List<Row> rows, CommandSpec command) throws IOException {
        var page = new Page(title, routing(rows), origin(rows, command));
        RoutingFigures.add(page, rows);
        return page;
    }

    /** What the rows are, in two sentences. */
    static String routing(List<Row> rows) {
        return "%d balancing methods on the same tokens, seeds %s. Scores are frozen and only what a method learns evolves."
                .formatted(rows.stream().map(Row::method).distinct().count(), RoutingFigures.seeds(rows));
    }

    /** The command that is running, the seeds, and the version. */
    static Origin origin(List<Row> rows, CommandSpec command) throws IOException {
        return origin(rows.isEmpty() ? "none" : RoutingFigures.seeds(rows), command);
    }

    static Origin origin(String seeds, CommandSpec command) throws IOException {
        var arguments = command.root().commandLine().getParseResult().originalArgs();
        String line = arguments.stream()
                .map(a -> a.matches("[A-Za-z0-9_@%+=:,./-]+") ? a : "'" + a.replace("'", "'\\''") + "'")
                .collect(Collectors.joining(" ", "panamoe ", ""));
        return new Origin(line, seeds, new Version().getVersion()[0]);
    }

    static void write(Page page, Path file) throws IOException {
        OutputFile.write(file, out -> page.write(new OutputStreamWriter(out, StandardCharsets.UTF_8)));
    }
}
