package org.panamoe.cli;

import com.google.common.collect.ImmutableTable;
import com.google.common.math.Stats;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.concurrent.Callable;
import org.jspecify.annotations.Nullable;
import org.panamoe.lab.routing.Comparison;
import org.panamoe.lab.routing.MethodSpec;
import org.panamoe.lab.routing.Metric;
import org.panamoe.lab.routing.ResultFiles;
import org.panamoe.lab.routing.Row;
import org.panamoe.lab.routing.ShapeOfRates;
import org.panamoe.lab.routing.Summary;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;
import picocli.CommandLine.Spec;
import tools.jackson.databind.node.JsonNodeFactory;
import tools.jackson.databind.node.ObjectNode;

@Command(
        name = "compare",
        sortOptions = false,
        header = "Plays the same tokens to several balancing methods, with the same seeds.",
        description = {
            "%nScores are frozen and only what a method learns evolves: this shows balance and what it costs in score, and"
                    + " nothing about a model's loss. Numbers are means over layers, then mean and deviation over seeds.%n",
            "Methods: none, recorded-bias, as-recorded, sign (rate, recentre), proportional (rate), quantile (bins, ema),"
                    + " bip (iterations), expert-choice, sequence-aux-simulated (rate), batch-aux-simulated (rate), capacity"
                    + " (factor, drop). What is simulated has a router of which one number for each expert learns.%n"
        })
final class BalanceCompareCommand implements Callable<Integer> {
    private static final List<Metric> SHOWN = List.of(
            Metric.MAX_VIO_BATCH_EARLY,
            Metric.MAX_VIO_BATCH,
            Metric.MAX_VIO_GLOBAL,
            Metric.SCORE_KEPT,
            Metric.NODES_PER_TOKEN,
            Metric.DROPPED_SLOTS,
            Metric.STRAGGLER);

    @Mixin
    private final InputOption input = new InputOption();

    @Option(
            names = "--method",
            paramLabel = "NAME[:KEY=VALUE,...]",
            description =
                    "A method; may be given several times. Without it none, sign with the rates 1e-4, 1e-3, 1e-2 and"
                            + " 5e-2, proportional, quantile and bip.")
    private List<String> methods = List.of();

    @Option(
            names = "--seeds",
            paramLabel = "SEED",
            split = ",",
            defaultValue = "1,2,3",
            description = "Each decides another order of the sequences, or another stream; 0: as recorded.")
    private long[] seeds = {1, 2, 3};

    @Option(
            names = "--output",
            paramLabel = "FILE",
            description = "All results as JSON lines, or as CSV if the name ends with .csv; with curves and counts.")
    private @Nullable Path output;

    @Option(
            names = "--report",
            paramLabel = "FILE.html",
            description = "One page with charts, as balance report makes it.")
    private @Nullable Path report;

    @Option(names = "--json", description = "One JSON object.")
    private boolean json;

    @Spec
    @SuppressWarnings("NullAway.Init") // picocli sets it
    private CommandSpec spec;

    private final Console console;

    BalanceCompareCommand(Console console) {
        this.console = console;
    }

    @Override
    public Integer call() throws IOException {
        if (output != null) OutputFile.check(output);
        if (report != null) OutputFile.check(report);
        var opened = input.input();
        try (var trace = input.open(opened)) {
            var comparison = new Comparison(
                    input.replay(trace),
                    opened,
                    specs(),
                    Arrays.stream(seeds).distinct().boxed().toList(),
                    output != null || report != null);
            List<Row> rows;
            try (var progress = new Progress(console, "compare", comparison.size())) {
                rows = comparison.run(input.threads(), progress::step);
            }
            if (output != null) write(output, rows);
            if (report != null) ReportPage.write(ReportPage.of("Balancing methods", rows, spec), report);
            var summary = new Summary();
            rows.forEach(summary::add);
            if (json) console.println(object(summary));
            else console.print(text(summary));
        }
        return 0;
    }

    private List<MethodSpec> specs() {
        var given = methods.isEmpty()
                ? List.of(
                        "none",
                        "sign:rate=0.0001",
                        "sign:rate=0.001",
                        "sign:rate=0.01",
                        "sign:rate=0.05",
                        "proportional:rate=0.01",
                        "quantile",
                        "bip")
                : methods;
        return given.stream().map(MethodSpec::parse).distinct().toList();
    }

    static void write(Path file, List<Row> rows) throws IOException {
        boolean csv = file.toString().endsWith(".csv");
        String content = csv ? ResultFiles.csv(rows) : ResultFiles.json(rows);
        OutputFile.write(file, out -> out.write(content.getBytes(StandardCharsets.UTF_8)));
    }

    private static String text(Summary summary) {
        ImmutableTable<Summary.Setting, String, Stats> table = summary.table();
        var lines = new ArrayList<String>();
        var head = new StringBuilder("%-28s".formatted("method"));
        for (var metric : SHOWN) head.append(" %20s".formatted(metric.key()));
        lines.add(head.toString());
        for (var setting : table.rowKeySet()) {
            var line = new StringBuilder("%-28s".formatted(setting.method()));
            for (var metric : SHOWN) line.append(" %20s".formatted(number(table.get(setting, metric.key()))));
            lines.add(line.toString());
        }
        lines.addAll(ShapeOfRates.of(summary));
        return String.join("\n", lines) + "\n";
    }

    private static String number(@Nullable Stats stats) {
        return stats == null ? "-" : "%.4f +- %.4f".formatted(stats.mean(), Summary.deviation(stats));
    }

    private ObjectNode object(Summary summary) {
        var object = JsonNodeFactory.instance.objectNode();
        object.put("input", input.text());
        var all = object.putArray("methods");
        summary.table().rowMap().forEach((setting, metrics) -> {
            var one = all.addObject().put("method", setting.method());
            var values = one.putObject("metrics");
            metrics.forEach((metric, stats) -> values.putObject(metric)
                    .put("mean", stats.mean())
                    .put("deviation", Summary.deviation(stats))
                    .put("seeds", stats.count()));
        });
        var notes = object.putArray("notes");
        ShapeOfRates.of(summary).forEach(notes::add);
        return object;
    }
}
