package org.panamoe.cli;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Locale;
import java.util.concurrent.Callable;
import java.util.stream.IntStream;
import org.panamoe.bench.WeightFormats;
import org.panamoe.checkpoint.Checkpoint;
import org.panamoe.checkpoint.Footprint;
import org.panamoe.checkpoint.ModelConfig;
import org.panamoe.checkpoint.TensorSpec;
import org.panamoe.engine.Engine;
import org.panamoe.model.StepMemory;
import org.panamoe.tensor.DType;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;
import tools.jackson.databind.JsonNode;
import tools.jackson.databind.node.JsonNodeFactory;
import tools.jackson.databind.node.ObjectNode;

@Command(
        name = "inspect",
        sortOptions = false,
        header = "Says what a model is, how large, and what it takes to run it.",
        description =
                "%nA folder with config.json alone will do: sizes are then those of the published checkpoints, BF16, or FP8"
                        + " where the config says so. The forecast is that of the cpu back end; the JVM's own memory comes on"
                        + " top.%n")
final class InspectCommand implements Callable<Integer> {
    /** The context of a forecast, beside the longest that the model is made for. */
    private static final int CONTEXT = 4096;
    /** Rows of a step that have logits: a token and a draft. */
    private static final int SAMPLED = 2;

    @Mixin
    private final ModelOption model = new ModelOption();

    @Option(names = "--json", description = "One JSON object.")
    private boolean json;

    private final Console console;

    InspectCommand(Console console) {
        this.console = console;
    }

    @Override
    public Integer call() throws IOException {
        var folder = model.folder();
        boolean weights = hasWeights(folder);
        ObjectNode report;
        if (weights)
            try (var checkpoint = Checkpoint.open(folder)) {
                report = report(checkpoint.config(), Footprint.of(checkpoint), true);
            }
        else {
            var config = ModelConfig.parse(folder);
            report = report(config, Footprint.of(config, DType.BF16), false);
        }
        if (json) console.println(report);
        else console.print(lines(report).toString());
        return 0;
    }

    private static boolean hasWeights(Path folder) throws IOException {
        try (var files = Files.list(folder)) {
            return files.anyMatch(file -> {
                String name = file.getFileName().toString();
                return name.endsWith(".safetensors") || name.endsWith(".safetensors.index.json");
            });
        }
    }

    private ObjectNode report(ModelConfig c, Footprint footprint, boolean weights) {
        var report = JsonNodeFactory.instance.objectNode();
        report.put("model", model.name());
        report.put("weights", weights);
        var a = report.putObject("architecture");
        a.put("model_type", c.modelType());
        a.put("num_hidden_layers", c.numHiddenLayers());
        a.put("first_k_dense_replace", c.firstKDenseReplace());
        a.put("num_nextn_predict_layers", c.numNextnPredictLayers());
        a.put("hidden_size", c.hiddenSize());
        a.put("num_attention_heads", c.numAttentionHeads());
        a.put("q_lora_rank", c.qLoraRank());
        a.put("kv_lora_rank", c.kvLoraRank());
        a.put("qk_rope_head_dim", c.qkRopeHeadDim());
        a.put("n_routed_experts", c.nRoutedExperts());
        a.put("n_shared_experts", c.nSharedExperts());
        a.put("num_experts_per_tok", c.numExpertsPerTok());
        a.put("n_group", c.nGroup());
        a.put("topk_group", c.topkGroup());
        a.put("topk_method", c.topkMethod().name().toLowerCase(Locale.ROOT));
        a.put("vocab_size", c.vocabSize());
        a.put("max_position_embeddings", c.maxPositionEmbeddings());
        a.put("yarn_factor", c.ropeScaling() == null ? 1 : c.ropeScaling().factor());
        var quantization = c.quantizationConfig();
        a.put("quantization", quantization == null ? "none" : WeightFormats.name(quantization.format()));
        var p = report.putObject("parameters");
        p.put("total", footprint.parameters());
        p.put("active", footprint.activeParameters());
        p.put("mtp", footprint.mtpParameters());
        var b = report.putObject("bytes");
        b.put("total", footprint.weightBytes());
        for (var kind : TensorSpec.Kind.values())
            b.put(kind.name().toLowerCase(Locale.ROOT), footprint.bytes().getOrDefault(kind, 0L));
        report.put("latent_cache_bytes_per_token", footprint.cacheBytesPerPosition());
        report.put("bytes_read_per_token", footprint.bytesPerToken(0));
        report.put("bytes_read_per_draft", footprint.draftBytes());
        var step = StepMemory.of(c);
        int threads = Runtime.getRuntime().availableProcessors();
        var forecast = report.putArray("forecast");
        IntStream.of(CONTEXT, c.maxPositionEmbeddings())
                .map(context -> Math.min(context, c.maxPositionEmbeddings()))
                .distinct()
                .forEach(context -> {
                    int rows = Math.min(context, Engine.DEFAULT_MAX_ROWS);
                    long stepBytes = step.bytes(rows, Math.min(rows, SAMPLED), context, threads);
                    forecast.addObject()
                            .put("context", context)
                            .put("memory_bytes", footprint.memory(context) + stepBytes)
                            .put("step_bytes", stepBytes)
                            .put("bytes_read_per_token", footprint.bytesPerToken(context));
                });
        return report;
    }

    private static Lines lines(ObjectNode report) {
        var lines = new Lines();
        var a = report.path("architecture");
        lines.add(
                "model",
                "%s, %s%s",
                report.path("model").asString(),
                a.path("model_type").asString(),
                report.path("weights").asBoolean() ? "" : "; no weights here: sizes as published");
        lines.add(
                "layers",
                "%d (%d dense first), MTP %d, hidden %d, heads %d, latent %d + %d, vocabulary %d",
                a.path("num_hidden_layers").asInt(),
                a.path("first_k_dense_replace").asInt(),
                a.path("num_nextn_predict_layers").asInt(),
                a.path("hidden_size").asInt(),
                a.path("num_attention_heads").asInt(),
                a.path("kv_lora_rank").asInt(),
                a.path("qk_rope_head_dim").asInt(),
                a.path("vocab_size").asInt());
        lines.add(
                "experts",
                "%d of %d, from %d of %d groups, by %s; %d shared",
                a.path("num_experts_per_tok").asInt(),
                a.path("n_routed_experts").asInt(),
                a.path("topk_group").asInt(),
                a.path("n_group").asInt(),
                a.path("topk_method").asString(),
                a.path("n_shared_experts").asInt());
        var p = report.path("parameters");
        lines.add(
                "parameters",
                "%,d, active %,d, MTP %,d",
                p.path("total").asLong(),
                p.path("active").asLong(),
                p.path("mtp").asLong());
        for (var kind : report.path("bytes").properties()) {
            boolean total = kind.getKey().equals("total");
            if (kind.getValue().asLong() > 0)
                lines.add(total ? "weights" : "  " + kind.getKey(), "%s", bytes(kind.getValue()));
        }
        lines.add("latent cache", "%s a token", bytes(report.path("latent_cache_bytes_per_token")));
        lines.add(
                "reads",
                "%s of weights a token, %s a draft",
                bytes(report.path("bytes_read_per_token")),
                bytes(report.path("bytes_read_per_draft")));
        for (var context : report.path("forecast").values())
            lines.add(
                    "forecast",
                    "%s of memory with a context of %d, %s of it for a step's rows; reads %s a token at its end",
                    bytes(context.path("memory_bytes")),
                    context.path("context").asInt(),
                    bytes(context.path("step_bytes")),
                    bytes(context.path("bytes_read_per_token")));
        return lines;
    }

    private static String bytes(JsonNode number) {
        return Bytes.text(number.asDouble());
    }
}
