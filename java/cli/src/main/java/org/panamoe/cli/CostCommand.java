package org.panamoe.cli;

import java.io.IOException;
import java.nio.file.Path;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.Callable;
import org.jspecify.annotations.Nullable;
import org.panamoe.checkpoint.ModelConfig;
import org.panamoe.lab.cost.DeepSeekV3;
import org.panamoe.lab.cost.DistillationCost;
import org.panamoe.lab.cost.Gpu;
import org.panamoe.lab.cost.Line;
import org.panamoe.lab.cost.ServingCost;
import org.panamoe.lab.cost.TrainingCost;
import picocli.CommandLine.ArgGroup;
import picocli.CommandLine.Command;
import picocli.CommandLine.Option;
import tools.jackson.databind.node.JsonNodeFactory;

@Command(
        name = "cost",
        sortOptions = false,
        header = "What training, serving and distilling cost, each line with its formula.",
        description =
                "%nThe numbers of the options are by default DeepSeek's published ones: with them come out the 2788K H800"
                        + " hours and $5.576M of DeepSeek-V3, its day of serving, and what its distilled students cost.%n")
final class CostCommand implements Callable<Integer> {
    @Option(
            names = "--model",
            paramLabel = "DIR",
            description =
                    "A folder with config.json, or that file; without it DeepSeek-V3. With it, context extension and"
                            + " post-training take no hours but those that are given.")
    private @Nullable Path model;

    @Option(names = "--gpu", paramLabel = "NAME", defaultValue = "H800", description = "H800, H200 or B200.")
    private String gpu = "H800";

    @Option(
            names = "--price",
            paramLabel = "DOLLARS",
            description = "Of a GPU hour; without it that of the preset: $2 for H800, none for others.")
    private double price = Double.NaN;

    @ArgGroup(exclusive = false, heading = "%nTraining%n")
    private Training training = new Training();

    @ArgGroup(exclusive = false, heading = "%nServing%n")
    private Serving serving = new Serving();

    @ArgGroup(exclusive = false, heading = "%nDistillation%n")
    private Distillation distillation = new Distillation();

    private static final class Training {
        @Option(names = "--tokens", paramLabel = "N", defaultValue = "14.8e12", description = "Of pre-training.")
        private double tokens = 14.8e12;

        @Option(names = "--context", paramLabel = "N", defaultValue = "4096", description = "Of pre-training.")
        private double context = 4096;

        @Option(names = "--mfu", paramLabel = "SHARE", defaultValue = "0.4065", description = "Of the BF16 peak.")
        private double mfu = TrainingCost.V3_MFU;

        @Option(names = "--extension-hours", paramLabel = "H", description = "GPU hours of context extension.")
        private @Nullable Double extensionHours;

        @Option(names = "--post-training-hours", paramLabel = "H", description = "GPU hours of post-training.")
        private @Nullable Double postTrainingHours;

        @Option(names = "--gpus", paramLabel = "N", defaultValue = "2048", description = "That train at once.")
        private double gpus = 2048;

        @Option(
                names = "--pue",
                paramLabel = "X",
                defaultValue = "1",
                description = "Watts of a data centre for each of its GPUs.")
        private double pue = 1;
    }

    private static final class Serving {
        @Option(
                names = "--nodes",
                paramLabel = "N",
                defaultValue = "226.75",
                description = "Of 8 GPUs, the mean of the day.")
        private double nodes = 226.75;

        @Option(names = "--input-tokens", paramLabel = "N", defaultValue = "608e9", description = "Of the day.")
        private double input = 608e9;

        @Option(
                names = "--cache-hits",
                paramLabel = "SHARE",
                defaultValue = "0.563",
                description = "Of the input tokens.")
        private double hits = 0.563;

        @Option(names = "--output-tokens", paramLabel = "N", defaultValue = "168e9", description = "Of the day.")
        private double output = 168e9;

        @Option(
                names = "--input-rate",
                paramLabel = "N",
                defaultValue = "73.7e3",
                description = "Tokens a second and prefilling node.")
        private double inputRate = 73.7e3;

        @Option(
                names = "--output-rate",
                paramLabel = "N",
                defaultValue = "14.8e3",
                description = "Tokens a second and decoding node.")
        private double outputRate = 14.8e3;
    }

    private static final class Distillation {
        @Option(names = "--samples", paramLabel = "N", defaultValue = "800e3", description = "That the teacher writes.")
        private double samples = 800e3;

        @Option(names = "--sample-tokens", paramLabel = "N", defaultValue = "6000", description = "Of each.")
        private double tokens = 6000;

        @Option(names = "--epochs", paramLabel = "N", defaultValue = "2", description = "Of the student over them.")
        private double epochs = 2;

        @Option(names = "--student-mfu", paramLabel = "SHARE", defaultValue = "0.4", description = "Of the BF16 peak.")
        private double mfu = 0.4;

        @Option(
                names = "--student",
                paramLabel = "NAME=WEIGHTS",
                description = "A student, and the weights that a token passes; may be given several times. Without it"
                        + " 7B=7.6e9 and 32B=32.5e9.")
        private Map<String, Double> students = Map.of();
    }

    @Option(names = "--json", description = "One JSON object.")
    private boolean json;

    private final Console console;

    CostCommand(Console console) {
        this.console = console;
    }

    @Override
    public Integer call() throws IOException {
        var accounts = accounts();
        if (json) {
            var object = JsonNodeFactory.instance.objectNode();
            accounts.forEach((name, lines) -> {
                var all = object.putArray(name);
                for (var line : lines) {
                    var one = all.addObject().put("name", line.name());
                    if (Double.isFinite(line.value())) one.put("value", line.value());
                    else one.putNull("value");
                    one.put("unit", line.unit()).put("formula", line.formula());
                }
            });
            console.println(object);
            return 0;
        }
        var text = new StringBuilder();
        accounts.forEach((name, lines) -> {
            text.append(text.isEmpty() ? "" : "\n").append(name).append('\n');
            for (var line : lines)
                text.append("  %-22s %16s %-18s %s%n"
                        .formatted(line.name(), number(line.value()), line.unit(), line.formula()));
        });
        console.print(text.toString());
        return 0;
    }

    private Map<String, List<Line>> accounts() {
        var preset = Gpu.preset(gpu);
        var device = Double.isNaN(price) ? preset : preset.at(price);
        double v3 = model == null ? 1 : 0;
        var large = new TrainingCost(
                model == null ? DeepSeekV3.CONFIG : ModelConfig.parse(model),
                device,
                training.tokens,
                training.context,
                training.mfu,
                training.extensionHours == null ? v3 * 119e3 : training.extensionHours,
                training.postTrainingHours == null ? v3 * 5e3 : training.postTrainingHours,
                training.gpus,
                training.pue);
        var accounts = new LinkedHashMap<String, List<Line>>();
        accounts.put("training", large.lines());
        if (Double.isNaN(device.dollarsPerHour())) return accounts; // the others are about money alone
        var day = new ServingCost(
                serving.nodes,
                8,
                device.dollarsPerHour(),
                serving.input,
                serving.hits,
                serving.output,
                serving.inputRate,
                serving.outputRate,
                0.14,
                0.55,
                2.19);
        accounts.put("serving", day.lines());
        var students = distillation.students.isEmpty()
                ? DistillationCost.r1Students().students()
                : distillation.students.entrySet().stream()
                        .map(s -> new DistillationCost.Student(s.getKey(), s.getValue()))
                        .toList();
        accounts.put(
                "distillation",
                new DistillationCost(
                                distillation.samples,
                                distillation.tokens,
                                day.outputCost(),
                                distillation.epochs,
                                distillation.mfu,
                                device,
                                students)
                        .lines(large));
        return accounts;
    }

    private static String number(double value) {
        double size = Math.abs(value);
        if (Double.isInfinite(value)) return "never";
        if (size >= 1e9) return "%.4e".formatted(value);
        return size >= 1000 ? "%,.0f".formatted(value) : size >= 10 ? "%.1f".formatted(value) : "%.3f".formatted(value);
    }
}
