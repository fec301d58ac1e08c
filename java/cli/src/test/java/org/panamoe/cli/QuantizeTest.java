package org.panamoe.cli;

import static org.assertj.core.api.Assertions.assertThat;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.concurrent.locks.LockSupport;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.panamoe.checkpoint.Checkpoint;
import org.panamoe.checkpoint.QuantizedFolder;
import org.panamoe.tensor.QuantFormat;
import tools.jackson.databind.json.JsonMapper;
import tools.jackson.databind.node.ObjectNode;

class QuantizeTest {
    /** Of the kind that the embedded model was trained on. */
    private static final String TEXT =
            "Once upon a time there was a little girl named Lily. She loved to play outside in"
                    + " the park with her friends. One day she saw a big red ball near the tree and wanted to play with it. "
                            .repeat(8);

    @TempDir
    Path folder;

    /**
     * A code of 8 bits or 4, of the head always 8, and a scale for 32 of them. Made at load or written before: the same
     * weights, the same text.
     */
    @ParameterizedTest
    @CsvSource({"int8, 8.5, 0.0001, 0.01", "int4, 4.5, 0.01, 0.15"})
    void aWrittenModelIsTheOneMadeAtLoad(String weights, double bits, double least, double most) {
        Path there = folder.resolve(weights);
        var report = Run.json("quantize", "--weights", weights, "--output", there.toString());
        report.properties().forEach(entry -> {
            boolean head = entry.getKey().equals("head");
            double wanted = head ? 8.5 : bits;
            // Short last groups of narrow weights take a little more.
            assertThat(entry.getValue().path("bits_per_weight").asDouble())
                    .as(entry.getKey())
                    .isBetween(wanted, wanted + 0.5);
            assertThat(entry.getValue().path("relative_rms_error").asDouble())
                    .as(entry.getKey())
                    .isBetween(head ? 0.0001 : least, head ? 0.01 : most);
        });
        assertThat(report.has("head")).isTrue();
        assertThat(Run.json("inspect", "--model", there.toString())
                        .path("architecture")
                        .path("quantization")
                        .asString())
                .isEqualTo(weights);
        String atLoad = generate("--weights", weights), written = generate("--model", there.toString());
        assertThat(written).isEqualTo(atLoad).hasSizeGreaterThan(100);
    }

    /** Against the perplexity of the weights as they are stored: INT8 within 0.5 %, INT4 within 5 %. */
    @ParameterizedTest
    @CsvSource({"int8, 0.005", "int4, 0.05"})
    void perplexityHardlyChanges(String weights, double most) throws IOException {
        var text = Files.writeString(folder.resolve("text.txt"), TEXT).toString();
        double stored = perplexity(text, "stored"), quantized = perplexity(text, weights);
        assertThat(Math.abs(quantized / stored - 1))
                .as("%s after %s", quantized, stored)
                .isBetween(1e-6, most);
    }

    @Test
    void refusesWhatIsThere() throws IOException {
        Files.writeString(folder.resolve("mine"), "precious");
        assertThat(Run.refusal(1, "quantize", "--weights", "int4", "--output", folder.toString()))
                .contains("is there already, and not empty");
        assertThat(Files.readString(folder.resolve("mine"))).isEqualTo("precious");
        assertThat(Run.refusal(
                        2,
                        "quantize",
                        "--weights",
                        "stored",
                        "--output",
                        folder.resolve("x").toString()))
                .contains("int8 or int4");
    }

    @Test
    void refusesAFile() throws IOException {
        var file = Files.writeString(folder.resolve("model.gguf"), "precious");
        assertThat(Run.refusal(1, "quantize", "--weights", "int4", "--output", file.toString()))
                .isEqualTo("panamoe: --output %s: is a file, not a folder".formatted(file));
        assertThat(Files.readString(file)).isEqualTo("precious");
    }

    /** After Ctrl-C nothing is left, and after a kill the next run says what is. */
    @Test
    void isInterrupted() throws IOException, InterruptedException {
        Path there = folder.resolve("int4"), mine = Files.createDirectory(folder.resolve("mine"));
        interrupt("INT", there);
        assertThat(there).doesNotExist();
        interrupt("INT", mine);
        assertThat(mine).isEmptyDirectory();
        interrupt("KILL", there);
        assertThat(Run.refusal(1, "quantize", "--weights", "int4", "--output", there.toString()))
                .contains("another quantize is writing there, or was killed; if none is, delete the folder");
    }

    private void interrupt(String signal, Path to) throws IOException, InterruptedException {
        try (var child =
                new Child(folder, Endless.class, List.of("--default-signal=INT"), Path.of(""), to.toString())) {
            assertThat((char) child.process.getInputStream().read()).isEqualTo('.');
            assertThat(to).isNotEmptyDirectory();
            assertThat(new ProcessBuilder("kill", "-" + signal, "" + child.process.pid())
                            .start()
                            .waitFor())
                    .isZero();
            assertThat(child.end().code()).isEqualTo(signal.equals("INT") ? 130 : 137);
        }
    }

    /** Quantizes one weight, says so, and never ends. */
    static final class Endless {
        private Endless() {}

        static void main(String[] args) throws IOException {
            var source = ModelOption.embedded();
            try (var from = Checkpoint.open(source)) {
                QuantizedFolder.write(from, source, QuantFormat.INT4, Path.of(args[0]), 1, _ -> {
                    System.out.print('.');
                    System.out.flush();
                    LockSupport.park();
                });
            }
        }
    }

    @Test
    void refusesADeviceBeforeTheWorkIsDone() throws IOException {
        assertThat(Run.refusal(2, "generate", "Once", "--weights", "int8", "--backend", "cudaemu"))
                .contains("--weights int8 is for the back ends cpu and reference, not for cudaemu");
    }

    @Test
    void refusesABrokenModel() throws IOException {
        Path there = folder.resolve("int4");
        Run.good("quantize", "--weights", "int4", "--output", there.toString());
        Path file = there.resolve("config.json");
        String config = Files.readString(file);
        write(file, config, "bits", 3);
        assertThat(refused(there)).contains("quantization_config.bits: 3 is neither 8 nor 4");
        write(file, config, "bits", 8);
        assertThat(refused(there)).contains("is U8, but config.json's quantization_config has no such integers");
        write(file, config, "group_size", 64);
        assertThat(refused(there)).contains("quantization_config.group_size: 64 is not 32");
        Files.writeString(file, config);
        Path weights = there.resolve("model.safetensors");
        byte[] bytes = Files.readAllBytes(weights);
        Files.write(weights, Arrays.copyOf(bytes, bytes.length - 1000));
        assertThat(refused(there)).contains("model.safetensors");
    }

    private static String refused(Path model) {
        return Run.refusal(1, "generate", "--model", model.toString(), "Once", "--max-tokens", "2");
    }

    private static void write(Path file, String config, String key, int value) throws IOException {
        var json = (ObjectNode) JsonMapper.shared().readTree(config);
        ((ObjectNode) json.path("quantization_config")).put(key, value);
        Files.writeString(file, json.toString());
    }

    private static String generate(String... more) {
        var args = new ArrayList<>(List.of("generate", "Once upon a time", "--max-tokens", "60"));
        args.addAll(List.of(more));
        return Run.good(args.toArray(String[]::new)).out();
    }

    private static double perplexity(String text, String weights) {
        return Run.json("perplexity", "--file", text, "--weights", weights)
                .path("perplexity")
                .asDouble();
    }
}
