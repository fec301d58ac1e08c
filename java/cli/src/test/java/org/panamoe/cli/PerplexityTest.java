package org.panamoe.cli;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.within;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.panamoe.text.Tokenizer;

class PerplexityTest {
    private static final Path TALE =
            Path.of(System.getProperty("panamoe.root"), "java", "cli", "src", "test", "resources", "tale.txt");
    private static final int V = 2048;

    @TempDir
    private Path folder;

    /** From the logits that another command writes, in another way: probabilities of windows cut by hand. */
    @Test
    void agreesWithTheLogits() throws IOException {
        int[] text;
        try (var tokenizer = Tokenizer.open(ModelOption.embedded())) {
            text = tokenizer.encode(Files.readString(TALE));
        }
        assertThat(text.length).isBetween(512, 1022); // two windows, the second short
        double nll = nll(Arrays.copyOf(text, 511)) + nll(Arrays.copyOfRange(text, 511, text.length));
        var answer = Run.json("perplexity", "--file", TALE.toString());
        assertThat(answer.path("tokens").asInt()).isEqualTo(text.length);
        assertThat(answer.path("nll").asDouble()).isCloseTo(nll / text.length, within(1e-9));
        assertThat(answer.path("perplexity").asDouble()).isCloseTo(Math.exp(nll / text.length), within(1e-6));
    }

    /** The model's own card says 35.7 for a book it has not seen. */
    @Test
    void isThatOfATrainedModel() {
        var run = Run.good("perplexity", "--file", TALE.toString());
        assertThat(run.out()).matches("perplexity \\d+\\.\\d{4}, nll \\d\\.\\d{4} nats, \\d+ tokens\n");
        assertThat(Double.parseDouble(run.out().split("[ ,]", 3)[1])).isBetween(15.0, 80.0);
    }

    private double nll(int[] window) throws IOException {
        var file = folder.resolve("logits.npy");
        Run.good("logits", "--tokens", "0," + Golden.ids(window), "--output", file.toString());
        var logit_TV = ByteBuffer.wrap(Files.readAllBytes(file))
                .order(ByteOrder.LITTLE_ENDIAN)
                .position(128)
                .slice()
                .order(ByteOrder.LITTLE_ENDIAN)
                .asFloatBuffer();
        double sum = 0;
        for (int t = 0; t < window.length; t++) {
            double total = 0;
            for (int v = 0; v < V; v++) total += Math.exp(logit_TV.get(t * V + v));
            sum -= Math.log(Math.exp(logit_TV.get(t * V + window[t])) / total);
        }
        return sum;
    }
}
