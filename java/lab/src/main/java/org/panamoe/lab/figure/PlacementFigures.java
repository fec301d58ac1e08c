package org.panamoe.lab.figure;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.stream.IntStream;
import org.panamoe.lab.cost.LayerModel;
import org.panamoe.lab.cost.Line;
import org.panamoe.lab.cost.Outlook;
import org.panamoe.lab.placement.Eplb;
import org.panamoe.lab.placement.LoadHistory;
import org.panamoe.lab.placement.LocalSearch;
import org.panamoe.lab.placement.Placement;
import org.panamoe.lab.placement.PlacementCase;
import org.panamoe.report.Axis;
import org.panamoe.report.Bars;
import org.panamoe.report.Page;
import org.panamoe.report.Plot;
import org.panamoe.report.Table;

/** Placement and what it saves, as figures. */
public final class PlacementFigures {
    private PlacementFigures() {}

    /** Loads of GPUs with experts as engines start, as EPLB places them, and as the local search does. */
    public static void addLoads(Page page, PlacementCase c) {
        var placements = new LinkedHashMap<String, Placement>();
        placements.put("as engines start", Placement.initial(c));
        placements.put("EPLB", new Eplb().place(c));
        placements.put("local search", new LocalSearch().place(c));
        var start = placements.values().iterator().next();
        double[] before = start.maxOverMean(c.weight);
        int worst = IntStream.range(0, before.length).reduce(0, (a, b) -> before[b] > before[a] ? b : a);
        var bars = new ArrayList<Bars.Series>();
        placements.forEach((name, p) -> bars.add(new Bars.Series(
                name, Arrays.stream(p.gpuLoad(worst, c.weight[worst])).boxed().toList())));
        page.add(
                "Load of GPUs before and after placement",
                "%s: %d experts in %d slots on %d GPUs, %d nodes; layer %d, which is the most uneven at the start. Loads are those that the placement was made for."
                        .formatted(c.name, c.numExperts(), c.numReplicas, c.numGpus, c.numNodes, worst),
                new Bars(
                        Axis.of("GPU", ""),
                        IntStream.range(0, c.numGpus).mapToObj(String::valueOf).toList(),
                        Axis.of("load", "rows"),
                        false,
                        bars));
        var rows = new ArrayList<List<?>>();
        for (int layer = 0; layer < c.numLayers(); layer++)
            for (Map.Entry<String, Placement> of : placements.entrySet())
                rows.add(List.of(layer, of.getKey(), of.getValue().maxOverMean(layer, c.weight[layer])));
        placements.forEach((name, p) -> {
            if (p != start) rows.add(List.of("all", name + ": experts fetched", p.movesFrom(start)));
        });
        page.add(
                "Fullest GPU over mean",
                "1 is perfect. Experts fetched: weights that GPUs must load to come there from the start, in all layers.",
                new Table(List.of("layer", "placement", "max / mean"), rows));
    }

    /** How imbalance goes on, and what placing by load gains at each size of a step. */
    public static void addOutlook(Page page, LoadHistory history, PlacementCase c, Outlook outlook, LayerModel model) {
        if (history.steps() > 1) {
            var points = new ArrayList<Plot.Point>();
            var initial = Placement.initial(c);
            for (int step = 0; step < history.steps(); step++)
                points.add(new Plot.Point(
                        step,
                        Arrays.stream(initial.maxOverMean(history.count[step]))
                                .average()
                                .orElseThrow()));
            page.add(
                    "Imbalance of GPUs, step by step",
                    "Experts as engines start; the mean over layers. Correlation of loads from one interval to the next: %.3f."
                            .formatted(outlook.persistence()),
                    new Plot(
                            Axis.of("step", ""),
                            Axis.of("fullest GPU / mean", ""),
                            true,
                            List.of(new Plot.Series(c.name, points))));
        }
        var now = new ArrayList<Plot.Point>();
        var then = new ArrayList<Plot.Point>();
        var money = new ArrayList<Double>();
        var large = outlook.sizes().stream()
                .filter(size -> size.tokens() >= outlook.recorded().tokens() / 4)
                .toList();
        for (var size : large) money.add(size.dollarsPerMillion());
        for (var size : outlook.sizes()) {
            now.add(new Plot.Point(size.tokens(), 1e3 * size.seconds()));
            then.add(new Plot.Point(size.tokens(), 1e3 * (size.predictedSeconds() + size.movingSeconds())));
        }
        var from = outlook.paysFrom();
        page.add(
                "What placing by load saves",
                "%s Time of all MoE layers of a step on %d %s, by the model of dispatch, grouped GEMM and combine; moving experts is in it.%s"
                        .formatted(
                                from == null
                                        ? "It pays at no size that was looked at."
                                        : "It pays from %,.0f tokens a step on.".formatted(from.tokens()),
                                c.numGpus,
                                model.gpu().name(),
                                outlook.tooShort()
                                        ? " Placed with hindsight: the record is shorter than the interval."
                                        : ""),
                new Plot(
                        Axis.log("tokens of a step", ""),
                        Axis.log("time", "ms"),
                        true,
                        List.of(new Plot.Series("as engines start", now), new Plot.Series("placed by load", then))));
        if (money.stream().noneMatch(d -> Double.isNaN(d)))
            page.add(
                    "In money",
                    "Dollars gained with each million tokens, at $%.2f a GPU hour; below 0 it costs more than it gains. %s."
                            .formatted(model.gpu().dollarsPerHour(), model.gpu().source()),
                    new Bars(
                            Axis.of("tokens of a step", ""),
                            large.stream()
                                    .map(s -> "%.0f".formatted(s.tokens()))
                                    .toList(),
                            Axis.of("gain", "$ per 10^6 tokens"),
                            false,
                            List.of(new Bars.Series("gain", money))));
    }

    /** An account, line by line. */
    public static void addAccount(Page page, String title, List<Line> lines) {
        var rows = new ArrayList<List<?>>();
        for (var line : lines) rows.add(List.of(line.name(), line.value(), line.unit(), line.formula()));
        page.add(title, "", new Table(List.of("what", "value", "unit", "formula"), rows));
    }
}
