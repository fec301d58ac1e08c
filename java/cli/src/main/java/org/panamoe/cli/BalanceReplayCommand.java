package org.panamoe.cli;

import java.io.IOException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.SortedMap;
import java.util.TreeMap;
import java.util.concurrent.Callable;
import org.jspecify.annotations.Nullable;
import org.panamoe.lab.routing.Balance;
import org.panamoe.lab.routing.Comparison;
import org.panamoe.lab.routing.Loads;
import org.panamoe.lab.routing.MethodSpec;
import org.panamoe.lab.routing.Metric;
import org.panamoe.lab.routing.Row;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;
import tools.jackson.databind.node.JsonNodeFactory;

@Command(
        name = "replay",
        sortOptions = false,
        header = "Plays a trace to one method, and measures every layer.",
        description = {
            "%nas-recorded measures what was chosen when the trace was recorded, and needs expert ids only; every other"
                    + " method chooses anew and needs scores (panamoe trace --scores).%n",
            "Of counts that SGLang's expert distribution recorder wrote (.csv, layer_id,expert_id,count) the balance of"
                    + " each layer is told.%n"
        })
final class BalanceReplayCommand implements Callable<Integer> {
    @Mixin
    private final InputOption input = new InputOption();

    @Option(
            names = "--method",
            paramLabel = "NAME[:KEY=VALUE,...]",
            defaultValue = "as-recorded",
            description = "See panamoe balance compare --help.")
    private String method = "as-recorded";

    @Option(
            names = "--seed",
            paramLabel = "SEED",
            defaultValue = "0",
            description = "Decides the order of the sequences; 0: as recorded.")
    private long seed;

    @Option(
            names = "--output",
            paramLabel = "FILE",
            description = "All results as JSON lines, or as CSV if the name ends with .csv; with curve and counts.")
    private @Nullable Path output;

    @Option(names = "--json", description = "One JSON object.")
    private boolean json;

    private final Console console;

    BalanceReplayCommand(Console console) {
        this.console = console;
    }

    @Override
    public Integer call() throws IOException {
        if (output != null) OutputFile.check(output);
        if (input.text().endsWith(".csv")) return counts();
        var opened = input.input();
        try (var trace = input.open(opened)) {
            var comparison = new Comparison(
                    input.replay(trace), opened, List.of(MethodSpec.parse(method)), List.of(seed), output != null);
            var rows = comparison.run(input.threads(), () -> {});
            if (output != null) BalanceCompareCommand.write(output, rows);
            var columns = new TreeMap<Integer, TreeMap<String, Double>>();
            for (var row : rows)
                if (row.step() == null && row.expert() == null)
                    columns.computeIfAbsent(column(row), layer -> new TreeMap<>())
                            .put(row.metric(), row.value());
            print(columns);
        }
        return 0;
    }

    /** The mean over layers comes first. */
    private static int column(Row row) {
        return row.layer() == null ? -1 : row.layer();
    }

    private int counts() throws IOException {
        var columns = new TreeMap<Integer, TreeMap<String, Double>>();
        Loads.readSglang(List.of(Path.of(input.text())), input.experts())
                .layers()
                .forEach((layer, count_E) -> {
                    var balance = Balance.of(count_E);
                    var values = new TreeMap<String, Double>();
                    values.put(Metric.MAX_VIO_GLOBAL.key(), balance.maxVio());
                    values.put(Metric.MIN_VIO.key(), balance.minVio());
                    values.put(Metric.CV.key(), balance.cv());
                    values.put(Metric.ENTROPY.key(), balance.entropy());
                    values.put(Metric.GINI.key(), balance.gini());
                    values.put(Metric.DEAD_EXPERTS.key(), (double) balance.dead());
                    values.put(Metric.TOP5_SHARE.key(), balance.top5Share());
                    columns.put(layer, values);
                });
        print(columns);
        return 0;
    }

    private void print(SortedMap<Integer, ? extends Map<String, Double>> columns) throws IOException {
        if (json) {
            var object = JsonNodeFactory.instance.objectNode();
            object.put("input", input.text());
            columns.forEach((layer, values) -> {
                var of = object.putObject(layer < 0 ? "mean" : "layer_" + layer);
                values.forEach(of::put);
            });
            console.println(object);
            return;
        }
        var lines = new ArrayList<String>();
        var head = new StringBuilder("%-22s".formatted("metric"));
        columns.keySet().forEach(layer -> head.append(" %12s".formatted(layer < 0 ? "mean" : "layer " + layer)));
        lines.add(head.toString());
        for (var metric : Metric.values()) {
            var line = new StringBuilder("%-22s".formatted(metric.key()));
            boolean any = false;
            for (var values : columns.values()) {
                Double value = values.get(metric.key());
                any |= value != null;
                line.append(value == null ? " %12s".formatted("-") : " %12.4f".formatted(value));
            }
            if (any) lines.add(line.toString());
        }
        console.print(String.join("\n", lines) + "\n");
    }
}
