package org.panamoe.text;

import static org.assertj.core.api.Assertions.assertThat;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.util.Arrays;
import java.util.List;
import java.util.Random;
import java.util.zip.GZIPInputStream;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** DeepSeek's own tokenizers on llama.cpp's vectors. Public data that is not part of the project: else skipped. */
final class PublishedVectorsTest {
    private static final Path DATA = Path.of(System.getProperty("panamoe.root", "../.."))
            .resolve("../shared/data/tokenizer")
            .normalize();

    @TempDir
    Path folder;

    @ParameterizedTest
    @ValueSource(strings = {"V3", "R1", "V3.1"})
    void encodesThePublishedVectors(String model) throws IOException {
        try (var tokenizer = open(model)) {
            Path vectors = DATA.resolve("llamacpp/ggml-vocab-deepseek-v3.gguf.inp");
            List<String> texts = List.of(Files.readString(vectors).split("\n__ggml_vocab_test__\n", -1));
            List<String> tokens = Files.readAllLines(DATA.resolve("llamacpp/ggml-vocab-deepseek-v3.gguf.out"));
            assertThat(tokens).hasSize(46);
            assertThat(texts.subList(0, 46)).hasSameSizeAs(tokens);
            for (int i = 0; i < tokens.size(); i++) {
                String line = tokens.get(i).strip();
                int[] expected = line.isEmpty()
                        ? new int[0]
                        : Arrays.stream(line.split(" "))
                                .mapToInt(Integer::parseInt)
                                .toArray();
                assertThat(tokenizer.encode(texts.get(i)))
                        .as("%s: %s", model, texts.get(i))
                        .isEqualTo(expected);
                assertThat(tokenizer.decode(expected)).isEqualTo(texts.get(i));
            }
            assertThat(tokenizer.size()).isEqualTo(128815);
            assertThat(tokenizer.encode("<｜User｜><｜Assistant｜>")).containsExactly(128803, 128804);
            assertThat(tokenizer.encode("<think>").length == 1).isEqualTo(!model.equals("V3"));
            assertThat(tokenizer.encodePrompt("a")).isEqualTo(tokenizer.encode("a")); // no config, no BOS in the file
            for (int seed = 0; seed < 200; seed++) {
                String text = TinyV3.text(new Random(seed), 40, true);
                assertThat(tokenizer.decode(tokenizer.encode(text), true))
                        .as("seed %d", seed)
                        .isEqualTo(text);
            }
        }
    }

    private Tokenizer open(String model) throws IOException {
        Path packed = DATA.resolve("tokenizer-DeepSeek-" + model + ".json.gz");
        assumeTrue(Files.exists(packed), () -> "no " + packed);
        try (var in = new GZIPInputStream(Files.newInputStream(packed))) {
            Files.copy(in, folder.resolve("tokenizer.json"), StandardCopyOption.REPLACE_EXISTING);
        }
        return Tokenizer.open(folder);
    }
}
