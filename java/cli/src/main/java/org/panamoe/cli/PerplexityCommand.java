package org.panamoe.cli;

import java.io.IOException;
import java.nio.file.Path;
import java.util.concurrent.Callable;
import org.panamoe.engine.TeacherForcing;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;
import tools.jackson.databind.node.JsonNodeFactory;

@Command(
        name = "perplexity",
        sortOptions = false,
        header = "Says how well a model predicts a text.",
        description =
                "%nThe text's tokens are cut into windows without overlap: BOS and the next 511 tokens (fewer where"
                        + " max_position_embeddings is below 512, and in the last window). So each token of the text is"
                        + " predicted exactly once, from those before it in its window. nll is the mean of -ln p over all"
                        + " of them, in nats; perplexity is exp(nll); tokens is their number, BOS not counted.%n")
final class PerplexityCommand implements Callable<Integer> {
    private static final int WINDOW = 512;

    @Mixin
    private final ModelOption model = new ModelOption();

    @Option(names = "--file", paramLabel = "TEXT", required = true, description = "A text, UTF-8.")
    @SuppressWarnings("NullAway.Init") // picocli sets it
    private Path file;

    @Mixin
    private final WeightsOption weights = new WeightsOption();

    @Mixin
    private final BackendOption backend = new BackendOption();

    @Option(names = "--json", description = "One JSON object: perplexity, nll, tokens.")
    private boolean json;

    private final Console console;

    PerplexityCommand(Console console) {
        this.console = console;
    }

    @Override
    public Integer call() throws IOException {
        backend.check();
        var folder = model.folder();
        try (var tokenizer = new LoadingTokenizer(folder);
                var open = OpenModel.open(folder, weights, backend, console)) {
            var config = open.model().config();
            int size = Math.min(WINDOW, config.maxPositionEmbeddings());
            var windows = Windows.of(file, tokenizer.get(), config, size);
            double[] sum = {0};
            long tokens = 0;
            try (var progress = new Progress(console, "perplexity", windows.size())) {
                for (int[] window : windows) {
                    TeacherForcing.logits(open.model(), window, (position, logit_V) -> {
                        if (position + 1 < window.length) sum[0] += surprise(logit_V, window[position + 1]);
                    });
                    tokens += window.length - 1;
                    progress.step();
                }
            }
            report(sum[0] / tokens, tokens);
        }
        return 0;
    }

    /** -ln p(token). */
    private static double surprise(float[] logit_V, int token) {
        float max = Float.NEGATIVE_INFINITY;
        for (float logit : logit_V) max = Math.max(max, logit);
        double sum = 0;
        for (float logit : logit_V) sum += Math.exp((double) logit - max);
        return Math.log(sum) + max - logit_V[token];
    }

    private void report(double nll, long tokens) throws IOException {
        if (Double.isNaN(nll)) throw new IllegalStateException("the model's logits are not numbers");
        double perplexity = Math.exp(nll);
        if (json) {
            var object = JsonNodeFactory.instance.objectNode();
            object.put("perplexity", perplexity);
            object.put("nll", nll);
            object.put("tokens", tokens);
            console.println(object);
        } else {
            console.println("perplexity %.4f, nll %.4f nats, %d tokens".formatted(perplexity, nll, tokens));
        }
    }
}
