package org.panamoe.cli;

import java.io.IOException;
import java.util.concurrent.Callable;
import org.panamoe.lab.cost.LayerModel;
import org.panamoe.lab.cost.Outlook;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;
import tools.jackson.databind.node.JsonNodeFactory;
import tools.jackson.databind.node.ObjectNode;

@Command(
        name = "cost",
        sortOptions = false,
        header = "Would placing experts by load help? In milliseconds and in money.",
        description = {
            "%nThe loads of a trace, step by step, on GPUs whose experts stay where engines put them, and on GPUs that place"
                    + " them anew after each interval by the loads of the window before. The time of a layer is that of"
                    + " its slowest GPU: dispatch, grouped GEMM in FP8, combine. It is a model: every number is an option.%n",
            "Steps of other sizes are taken to be of the same kind: the table says from which size on it pays.%n"
        })
final class BalanceCostCommand implements Callable<Integer> {
    @Mixin
    private final MachinesOption machines = new MachinesOption();

    @Option(names = "--json", description = "One JSON object.")
    private boolean json;

    private final Console console;

    BalanceCostCommand(Console console) {
        this.console = console;
    }

    @Override
    public Integer call() throws IOException {
        var loads = machines.loads();
        var layer = machines.layer(loads);
        var outlook = machines.outlook(loads, layer);
        if (json) console.println(object(outlook, layer));
        else console.print(text(loads, outlook, layer));
        return 0;
    }

    private String text(MachinesOption.Loads loads, Outlook o, LayerModel layer) {
        var lines = new Lines();
        var c = loads.machines();
        lines.add(
                "loads",
                "%s: %d steps, %d layers, %d experts",
                loads.name(),
                loads.history().steps(),
                c.numLayers(),
                c.numExperts());
        lines.add(
                "machines",
                "%d slots on %d GPUs (%s) of %d nodes, %s",
                c.numReplicas,
                c.numGpus,
                layer.gpu().name(),
                c.numNodes,
                layer.gpu().source());
        lines.add(
                "imbalance",
                "fullest GPU over mean %.3f, GPUs wait %.1f %% of the time",
                o.maxOverMean(),
                100 * o.recorded().wastedShare());
        lines.add(
                "persistence",
                "%s",
                Double.isNaN(o.persistence())
                        ? "cannot be said: there are no two intervals that differ"
                        : "correlation of loads from one interval to the next %.3f".formatted(o.persistence()));
        lines.add(
                machines.policy(),
                "fullest GPU over mean %.3f, %.0f experts fetched for each placement%s",
                o.predictedMaxOverMean(),
                o.movesPerInterval(),
                o.tooShort() ? "; placed with hindsight, for the record is shorter than the interval" : "");
        lines.add(
                "a step",
                "%.4f ms, placed by load %.4f ms and %.4f ms for moving: %s %.4f ms",
                ms(o.recorded().seconds()),
                ms(o.recorded().predictedSeconds()),
                ms(o.recorded().movingSeconds()),
                o.recorded().gain() > 0 ? "gains" : "loses",
                ms(Math.abs(o.recorded().gain())));
        var from = o.paysFrom();
        lines.add(
                "answer",
                "%s",
                from == null
                        ? "it does not pay at any size that was looked at"
                        : "it pays from %.0f tokens a step on".formatted(from.tokens()));
        var text = new StringBuilder(lines.toString());
        text.append("\n%12s  %10s  %10s  %10s  %10s  %14s%n"
                .formatted("tokens", "ms", "placed ms", "moving ms", "gain ms", "$ per 10^6"));
        for (var size : o.sizes())
            text.append("%12.0f  %10.4f  %10.4f  %10.4f  %10.4f  %14s%n"
                    .formatted(
                            size.tokens(),
                            ms(size.seconds()),
                            ms(size.predictedSeconds()),
                            ms(size.movingSeconds()),
                            ms(size.gain()),
                            Double.isNaN(size.dollarsPerMillion())
                                    ? "no price"
                                    : "%.6f".formatted(size.dollarsPerMillion())));
        return text.toString();
    }

    private static double ms(double seconds) {
        return 1e3 * seconds;
    }

    private ObjectNode object(Outlook o, LayerModel layer) {
        var object = JsonNodeFactory.instance.objectNode();
        object.put("policy", machines.policy());
        object.put("gpu", layer.gpu().name());
        object.put("source", layer.gpu().source());
        object.put("max_over_mean", o.maxOverMean());
        put(object, "persistence", o.persistence());
        object.put("predicted_max_over_mean", o.predictedMaxOverMean());
        object.put("moves_per_interval", o.movesPerInterval());
        object.put("hindsight", o.tooShort());
        put(object.putObject("recorded"), o.recorded());
        var from = o.paysFrom();
        if (from == null) object.putNull("pays_from_tokens");
        else object.put("pays_from_tokens", from.tokens());
        var sizes = object.putArray("sizes");
        o.sizes().forEach(size -> put(sizes.addObject(), size));
        return object;
    }

    private static void put(ObjectNode object, Outlook.Size size) {
        object.put("tokens", size.tokens());
        object.put("milliseconds", ms(size.seconds()));
        object.put("placed_milliseconds", ms(size.predictedSeconds()));
        object.put("moving_milliseconds", ms(size.movingSeconds()));
        object.put("gain_milliseconds", ms(size.gain()));
        object.put("wasted_share", size.wastedShare());
        put(object, "dollars_per_million_tokens", size.dollarsPerMillion());
    }

    /** JSON has no NaN. */
    private static void put(ObjectNode object, String key, double value) {
        if (Double.isFinite(value)) object.put(key, value);
        else object.putNull(key);
    }
}
