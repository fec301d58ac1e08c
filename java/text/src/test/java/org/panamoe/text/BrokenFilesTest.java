package org.panamoe.text;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.catchThrowable;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Random;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/** Whatever the files hold, they open or are refused in one line; the native library alone would end the JVM on some. */
final class BrokenFilesTest {
    private static final String[] SPLICES = {
        "null",
        "{}",
        "[]",
        "-1",
        "4294967296",
        "1e999",
        "9".repeat(400),
        "\"\\ud800\"",
        "\"\"",
        "true",
        ",",
        "}",
        "\u0000"
    };

    @TempDir
    Path folder;

    private Path file;
    private String valid;

    @BeforeEach
    void read() throws IOException {
        file = folder.resolve("tokenizer.json");
        valid = Files.readString(TinyV3.FOLDER.resolve("tokenizer.json"));
    }

    @ParameterizedTest
    @CsvSource(delimiter = '|', textBlock = """
                    {                                                   | Unexpected end-of-input
                    [1, 2]                                              | not a JSON object
                    {}                                                  | no model
                    {"model": {"type": "BPE", "vocab": {}}}             | decoder.type is null, only ByteLevel is known
                    {"decoder": {"type": "Metaspace"}, "model": {}}     | decoder.type is Metaspace, only ByteLevel is known
                    {"decoder": {"type": "ByteLevel"}, "model": {"a": 1}} | data did not match any variant
                    {"decoder": {"type": "ByteLevel"}, "model": {"vocab": {"a": 99999999}}} | id 99999999 of token a
                    {"decoder": {"type": "ByteLevel"}, "model": {}} {}  | text after the JSON object
                    """)
    void saysWhatIsWrong(String json, String reason) throws IOException {
        Files.writeString(file, json);
        assertThatThrownBy(() -> Tokenizer.open(folder))
                .isInstanceOf(IllegalArgumentException.class)
                .hasMessageStartingWith(file + ": " + reason)
                .message()
                .doesNotContain("\n");
    }

    @Test
    void namesTheFile() throws IOException {
        assertThatThrownBy(() -> Tokenizer.open(folder)).hasMessage(file + ": no such file");
        Files.write(file, new byte[] {'{', (byte) 0xC3, '}'});
        assertThatThrownBy(() -> Tokenizer.open(folder)).hasMessage(file + ": not UTF-8");
        Files.delete(file);
        Files.createDirectory(file);
        assertThatThrownBy(() -> Tokenizer.open(folder)).hasMessageStartingWith(file + ": cannot be read: ");
        Files.delete(file);
        Files.writeString(file, valid);
        Path config = folder.resolve("tokenizer_config.json");
        Files.writeString(config, "{\"bos_token\": \"two words\"}");
        assertThatThrownBy(() -> Tokenizer.open(folder)).hasMessageStartingWith(config + ": bos_token is two words");
        Files.writeString(config, "{\"add_bos_token\": true}");
        assertThatThrownBy(() -> Tokenizer.open(folder)).hasMessageStartingWith(config + ": add_bos_token is true");
        Files.writeString(config, "{\"add_bos_token\": 1}");
        assertThatThrownBy(() -> Tokenizer.open(folder)).hasMessageStartingWith(config + ": add_bos_token is 1");
        Files.writeString(config, "{]");
        assertThatThrownBy(() -> Tokenizer.open(folder)).hasMessageStartingWith(config + ": Unexpected");
    }

    /** Truncation, padding and a post-processor are switched off even if the file asks for them. */
    @Test
    void ignoresWhatTheFileWouldDoToPrompts() throws IOException {
        String asking = valid.replaceFirst(
                        "\"truncation\": *null",
                        "\"truncation\": {\"direction\": \"Right\", \"max_length\": 2, \"strategy\": \"LongestFirst\","
                                + " \"stride\": 0}")
                .replaceFirst(
                        "\"padding\": *null",
                        "\"padding\": {\"strategy\": {\"Fixed\": 99}, \"direction\": \"Right\","
                                + " \"pad_to_multiple_of\": null, \"pad_id\": 2, \"pad_type_id\": 0,"
                                + " \"pad_token\": \"<｜▁pad▁｜>\"}");
        assertThat(asking).contains("max_length", "Fixed");
        Files.writeString(file, asking);
        try (var tokenizer = Tokenizer.open(folder)) {
            assertThat(tokenizer.encode("Hello world")).containsExactly(47, 438, 86, 1168);
        }
    }

    @Test
    void survivesMutations() throws IOException {
        int opened = 0;
        int rounds = Boolean.getBoolean("panamoe.full") ? 20_000 : 200;
        for (int seed = 0; seed < rounds; seed++) {
            Files.writeString(file, mutated(new Random(seed)));
            Throwable thrown = catchThrowable(() -> {
                try (var tokenizer = Tokenizer.open(folder)) {
                    int[] tokens = tokenizer.encodePrompt("Once, 12345 日本 😀\0 <think>\n\n  x");
                    tokenizer.decode(tokens, true);
                }
            });
            if (thrown == null) {
                opened++;
            } else {
                assertThat(thrown)
                        .as("seed %d", seed)
                        .isInstanceOf(IllegalArgumentException.class)
                        .hasMessageStartingWith(file + ": ")
                        .message()
                        .doesNotContain("\n");
            }
        }
        assertThat(opened).isBetween(rounds / 20, rounds * 19 / 20);
    }

    /** Up to three faults, most of them before the vocabulary, where the file's structure lies. */
    private String mutated(Random random) {
        var json = new StringBuilder(valid);
        int structure = valid.indexOf("\"vocab\"") + 200;
        for (int faults = 1 + random.nextInt(3); faults > 0; faults--) {
            int at = random.nextInt(random.nextInt(4) == 0 ? json.length() : Math.min(structure, json.length()));
            switch (random.nextInt(5)) {
                case 0 -> json.setCharAt(at, (char) (' ' + random.nextInt(95)));
                case 1 -> json.deleteCharAt(at);
                case 2 -> json.insert(at, SPLICES[random.nextInt(SPLICES.length)]);
                case 3 -> { // another value where one stands
                    int from = json.indexOf(": ", at);
                    int to = from < 0 ? -1 : json.indexOf("\n", from);
                    if (to >= 0) {
                        String comma = json.charAt(to - 1) == ',' ? "," : "";
                        json.replace(from + 2, to, SPLICES[random.nextInt(SPLICES.length)] + comma);
                    }
                }
                default -> json.setLength(Math.max(1, random.nextInt(8) == 0 ? at : json.length()));
            }
        }
        return json.toString();
    }
}
