package org.panamoe.cli;

import java.io.IOException;
import java.lang.foreign.Arena;
import java.nio.file.Path;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.Callable;
import org.jspecify.annotations.Nullable;
import org.panamoe.checkpoint.ModelConfig;
import org.panamoe.checkpoint.SafetensorsWriter;
import org.panamoe.engine.TeacherForcing;
import org.panamoe.model.Model;
import org.panamoe.tensor.Tensor;
import picocli.CommandLine.ArgGroup;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;

@Command(
        name = "trace",
        sortOptions = false,
        header = "Writes which experts a text chooses, as a safetensors file.",
        description = {
            "%nFor each layer with experts: topk_idx.LAYER (I32 [T, K], best first), topk_weight.LAYER (F32 [T, K], as"
                    + " the experts' outputs are weighted), bias.LAYER (F32 [E], the correction bias; zeros where the"
                    + " model has none); token_ids (I32 [T]). The MTP module is the layer after the last; its row i"
                    + " comes from the main model's state at i and token i + 1, so it has T - 1 rows.%n",
            "A file's tokens are cut into windows without overlap: BOS and as many tokens as the context, or a context"
                    + " of 4096, holds. Their rows follow each other; the MTP module has one row less in each. The"
                    + " positions of a window are the metadata window.%n"
        })
final class TraceCommand implements Callable<Integer> {
    /** A window's latents and logits must fit in memory: V3's whole context would take 24 GB. */
    private static final int MAX_WINDOW = 4096;

    @Mixin
    private final ModelOption model = new ModelOption();

    @ArgGroup(multiplicity = "1")
    @SuppressWarnings("NullAway.Init") // picocli sets it
    private Input input;

    private static final class Input {
        @Option(names = "--file", paramLabel = "TEXT", required = true, description = "A text, UTF-8.")
        private @Nullable Path file;

        @Option(
                names = "--tokens",
                paramLabel = "ID",
                split = ",",
                required = true,
                description = "T token ids, used as they are, in one window.")
        private int @Nullable [] tokens;
    }

    @Option(names = "--output", paramLabel = "FILE.safetensors", required = true, description = "The file to write.")
    @SuppressWarnings("NullAway.Init") // picocli sets it
    private Path output;

    @Option(
            names = "--scores",
            description = "Also score.LAYER (F16 [T, E]): after the sigmoid or softmax, before the bias.")
    private boolean scores;

    @Mixin
    private final WeightsOption weights = new WeightsOption();

    @Mixin
    private final BackendOption backend = new BackendOption();

    private final Console console;

    TraceCommand(Console console) {
        this.console = console;
    }

    @Override
    public Integer call() throws IOException {
        backend.check();
        OutputFile.check(output);
        var folder = model.folder();
        try (var open = OpenModel.open(folder, weights, backend, console);
                var arena = Arena.ofConfined()) {
            var config = open.model().config();
            if (config.nRoutedExperts() == 0) throw new IllegalArgumentException(folder + ": the model has no experts");
            var windows = windows(folder, config);
            windows.forEach(open::requireKnown);
            int rows = windows.stream().mapToInt(window -> window.length).sum();
            var trace = new RoutingTrace(arena, config, rows, rows - windows.size(), scores);
            run(open.model(), windows, trace);
            var tensors = new LinkedHashMap<>(trace.tensors());
            for (int layer : trace.layers())
                tensors.put(
                        "bias." + layer,
                        Tensor.of(arena, open.model().routerBias(layer).orElseThrow()));
            tensors.put("token_ids", Tensor.of(arena, join(windows, rows)));
            SafetensorsWriter.write(output, tensors, metadata(config, windows));
        }
        return 0;
    }

    private List<int[]> windows(Path folder, ModelConfig config) throws IOException {
        if (input.tokens != null) return List.of(input.tokens);
        if (input.file == null) throw new AssertionError("picocli saw to it");
        try (var tokenizer = new LoadingTokenizer(folder)) {
            return Windows.of(
                    input.file, tokenizer.get(), config, Math.min(config.maxPositionEmbeddings(), MAX_WINDOW));
        }
    }

    /** Drafting runs the main model first, so one pass serves both. */
    private void run(Model model, List<int[]> windows, RoutingTrace trace) {
        model.observe(trace);
        try (var progress = new Progress(console, "trace", windows.size())) {
            for (int[] window : windows) {
                if (model.mtp().isPresent()) TeacherForcing.draftLogits(model, window, (position, logit_V) -> {});
                else TeacherForcing.logits(model, window, (position, logit_V) -> {});
                progress.step();
            }
        }
    }

    private Map<String, String> metadata(ModelConfig config, List<int[]> windows) {
        var metadata = new LinkedHashMap<String, String>();
        metadata.put("model", model.name());
        metadata.put("K", "" + config.numExpertsPerTok());
        metadata.put("n_group", "" + config.nGroup());
        metadata.put("topk_group", "" + config.topkGroup());
        metadata.put("window", "" + windows.getFirst().length);
        return metadata;
    }

    private static int[] join(List<int[]> windows, int rows) {
        int[] tokens = new int[rows];
        int at = 0;
        for (int[] window : windows) {
            System.arraycopy(window, 0, tokens, at, window.length);
            at += window.length;
        }
        return tokens;
    }
}
