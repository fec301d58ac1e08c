package org.panamoe.cli;

import java.io.IOException;
import java.nio.file.Path;
import org.jspecify.annotations.Nullable;
import org.panamoe.checkpoint.ModelConfig;
import org.panamoe.lab.cost.DeepSeekV3;
import org.panamoe.lab.cost.Gpu;
import org.panamoe.lab.cost.LayerModel;
import org.panamoe.lab.cost.Outlook;
import org.panamoe.lab.placement.CaseReader;
import org.panamoe.lab.placement.LoadHistory;
import org.panamoe.lab.placement.PlacementCase;
import org.panamoe.lab.placement.Rebalancing;
import org.panamoe.lab.routing.Input;
import picocli.CommandLine.Option;

/** Whose loads, on which machines, and how often experts are placed anew. */
final class MachinesOption {
    @Option(
            names = "--input",
            paramLabel = "TRACE",
            description = "As for balance compare; its steps are what is placed for.")
    private @Nullable String trace;

    @Option(
            names = "--case",
            paramLabel = "CASE.json",
            description = "As for balance place: one step, and its machines.")
    private @Nullable Path file;

    @Option(
            names = "--step",
            paramLabel = "TOKENS",
            defaultValue = "2048",
            description = "Tokens of a step of the trace, over all GPUs.")
    private int step = 2048;

    @Option(names = "--gpus", paramLabel = "D", defaultValue = "8", description = "For a trace.")
    private int gpus = 8;

    @Option(names = "--nodes", paramLabel = "N", defaultValue = "1", description = "For a trace.")
    private int nodes = 1;

    @Option(
            names = "--replicas",
            paramLabel = "R",
            description = "Slots for experts on all GPUs; for a trace, without it one more on each GPU than it needs.")
    private int replicas;

    @Option(
            names = "--interval",
            paramLabel = "STEPS",
            defaultValue = "8",
            description = "From one placement to the next.")
    private int interval = 8;

    @Option(
            names = "--window",
            paramLabel = "STEPS",
            defaultValue = "8",
            description = "Steps before a placement whose loads predict those that follow.")
    private int window = 8;

    @Option(names = "--policy", paramLabel = "POLICY", defaultValue = "EPLB", description = "${COMPLETION-CANDIDATES}.")
    private PlacerOption policy = PlacerOption.EPLB;

    @Option(names = "--gpu", paramLabel = "NAME", defaultValue = "H800", description = "H800, H200 or B200.")
    private String gpu = "H800";

    @Option(names = "--price", paramLabel = "DOLLARS", description = "Of a GPU hour; without it that of the preset.")
    private double price = Double.NaN;

    @Option(
            names = "--model",
            paramLabel = "DIR",
            description = "Sizes of experts: a folder with config.json, or that file; without it DeepSeek-V3's.")
    private @Nullable Path model;

    @Option(
            names = "--efficiency",
            paramLabel = "SHARE",
            defaultValue = "0.68",
            description = "Of the FP8 peak that a GEMM reaches.")
    private double efficiency = LayerModel.DEEPGEMM_EFFICIENCY;

    @Option(names = "--tile", paramLabel = "ROWS", defaultValue = "128", description = "That a GEMM pads to.")
    private int tile = LayerModel.TILE;

    @Option(
            names = "--launch",
            paramLabel = "SECONDS",
            defaultValue = "0",
            description = "Of each expert, beside its arithmetic.")
    private double launch;

    @Option(
            names = "--latency",
            paramLabel = "SECONDS",
            defaultValue = "0",
            description = "Of a message, beside its bytes.")
    private double latency;

    @Option(
            names = "--attention",
            paramLabel = "SECONDS",
            defaultValue = "0",
            description = "Of a layer's attention and shared expert.")
    private double attention;

    @Option(
            names = "--overlap",
            paramLabel = "SECONDS",
            defaultValue = "0",
            description = "Of a layer, in which two of its parts run at once.")
    private double overlap;

    /**
     * @param chosen experts of a token; 0 where the loads do not say
     * @param machines whose weights are the loads of all steps together
     */
    record Loads(String name, LoadHistory history, int chosen, PlacementCase machines) {}

    boolean isGiven() {
        return trace != null || file != null;
    }

    Loads loads() throws IOException {
        if ((trace == null) == (file == null))
            throw new IllegalArgumentException("either --input TRACE or --case CASE.json says whose loads");
        if (file != null) {
            var cases = CaseReader.read(file);
            if (cases.size() != 1)
                throw new IllegalArgumentException(
                        "--case %s: has %d cases, one is wanted".formatted(file, cases.size()));
            return new Loads(cases.getFirst().name, LoadHistory.of(cases.getFirst().weight), 0, cases.getFirst());
        }
        if (trace == null) throw new AssertionError("it was looked at");
        try (var opened = Input.of(trace).open(Input.Sizes.UNKNOWN)) {
            var history = LoadHistory.of(opened, step);
            int E = opened.rule().experts();
            if (gpus < 1) throw new IllegalArgumentException("--gpus %d: at least 1".formatted(gpus));
            int slots = replicas != 0 ? replicas : (Math.ceilDiv(E, gpus) + 1) * gpus;
            return new Loads(
                    opened.name(),
                    history,
                    opened.rule().chosen(),
                    new PlacementCase(
                            opened.name(),
                            history.sum(0, history.steps()),
                            slots,
                            opened.rule().groups(),
                            nodes,
                            gpus));
        }
    }

    /** What the model's layers take, on these GPUs; a token has as many experts as its trace says. */
    LayerModel layer(Loads loads) {
        var device = Gpu.preset(gpu);
        var of = LayerModel.of(
                model == null ? DeepSeekV3.CONFIG : ModelConfig.parse(model),
                Double.isNaN(price) ? device : device.at(price));
        return new LayerModel(
                of.gpu(),
                of.hidden(),
                of.inner(),
                loads.chosen == 0 ? of.chosen() : loads.chosen,
                of.nodesPerToken(),
                efficiency,
                tile,
                launch,
                latency,
                attention,
                overlap);
    }

    Rebalancing rule() {
        return new Rebalancing(policy.rebalancer(), interval, window);
    }

    Outlook outlook(Loads loads, LayerModel layer) {
        return Outlook.of(loads.history, loads.machines, rule(), layer);
    }

    String policy() {
        return policy.name();
    }
}
