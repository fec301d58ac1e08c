package org.panamoe.text;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Random;
import java.util.Scanner;
import java.util.concurrent.Callable;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.TestInstance;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;
import org.junit.jupiter.params.provider.ValueSource;
import tools.jackson.databind.JsonNode;

@TestInstance(TestInstance.Lifecycle.PER_CLASS)
final class TokenizerTest {
    private static final int MEGABYTE = 1 << 20;

    private Tokenizer tokenizer;
    private ReferenceBpe reference;

    @BeforeAll
    void open() throws IOException {
        tokenizer = TinyV3.open();
        reference = new ReferenceBpe(TinyV3.FOLDER.resolve("tokenizer.json"));
    }

    @AfterAll
    void close() {
        tokenizer.close();
    }

    record Vector(String text, List<Integer> tokens) {}

    /** Our own list; the tokens are what the library gave and {@link ReferenceBpe} confirmed. */
    static List<Vector> vectors() throws IOException {
        List<Vector> vectors = new ArrayList<>();
        for (JsonNode vector : TinyV3.JSON.readTree(Files.readString(TinyV3.resource("/tiny-v3/vectors.json")))) {
            List<Integer> tokens =
                    vector.path("tokens").valueStream().map(JsonNode::asInt).toList();
            vectors.add(new Vector(vector.path("text").asString(), tokens));
        }
        return vectors;
    }

    @ParameterizedTest
    @MethodSource("vectors")
    void encodesTheCommittedTexts(Vector vector) {
        int[] tokens = vector.tokens.stream().mapToInt(Integer::intValue).toArray();
        assertThat(tokenizer.encode(vector.text)).isEqualTo(tokens);
        assertThat(reference.encode(vector.text)).isEqualTo(tokens);
        assertThat(tokenizer.decode(tokens, true)).isEqualTo(vector.text);
    }

    @Test
    void encodesRandomTextsAsTheReferenceDoes() {
        for (int seed = 0; seed < 500; seed++) {
            String text = TinyV3.text(new Random(seed), seed % 40, true);
            int[] tokens = tokenizer.encode(text);
            assertThat(tokens).as("seed %d: %s", seed, text).isEqualTo(reference.encode(text));
            assertThat(tokenizer.decode(tokens, true)).as("seed %d", seed).isEqualTo(text);
        }
    }

    @Test
    void neverTruncatesNorPads() {
        String text = TinyV3.text(new Random(1), MEGABYTE / 3, true);
        int[] tokens = tokenizer.encode(text);
        assertThat(text.getBytes(StandardCharsets.UTF_8).length).isGreaterThan(MEGABYTE);
        assertThat(tokens.length).isGreaterThan(500_000);
        assertThat(Arrays.equals(tokens, reference.encode(text))).isTrue();
        assertThat(tokenizer.decode(tokens, true).equals(text)).isTrue();
    }

    @Test
    void takesAMegabyteWithoutAWord() {
        for (String piece : List.of("a", " ")) {
            String text = piece.repeat(MEGABYTE / piece.length());
            assertThat(tokenizer.decode(tokenizer.encode(text)).equals(text))
                    .as(piece)
                    .isTrue();
        }
    }

    @Test
    void recognisesSpecialTokens() {
        for (int id = 0; id < TinyV3.SPECIALS.length; id++) {
            assertThat(tokenizer.encode(TinyV3.SPECIALS[id])).containsExactly(id);
            assertThat(tokenizer.decode(new int[] {id}, true)).isEqualTo(TinyV3.SPECIALS[id]);
            assertThat(tokenizer.decode(new int[] {id})).isEmpty();
        }
        assertThat(tokenizer.bos()).isEqualTo(0);
        assertThat(tokenizer.eos()).isEqualTo(1);
        assertThat(tokenizer.size()).isEqualTo(2048);
    }

    @Test
    void halfASurrogatePairBecomesTheReplacementCharacter() {
        char high = '\uD83D', low = '\uDE00';
        for (String text :
                List.of("" + high, "" + low, "" + low + high, "a" + high, "a" + low + "b", high + "😀" + low)) {
            String mended = text.replaceAll("(?<!\uD83D)\uDE00|\uD83D(?!\uDE00)", "\uFFFD");
            assertThat(tokenizer.decode(tokenizer.encode(text))).isEqualTo(mended);
        }
        assertThat(tokenizer.encode("😀" + high + "😀")).isEqualTo(tokenizer.encode("😀\uFFFD😀"));
    }

    @Test
    void idsWithoutATokenHaveNoText() {
        assertThat(tokenizer.decode(new int[] {-1, 2048, Integer.MAX_VALUE, Integer.MIN_VALUE}))
                .isEmpty();
        assertThat(tokenizer.decode(new int[0])).isEmpty();
    }

    /** add_bos_token decides; where it is absent, the post-processor does (tiny-v3's adds BOS). */
    @ParameterizedTest
    @ValueSource(
            strings = {"{'add_bos_token': true, 'bos_token': '<think>'} 5", "{'add_bos_token': false} -1", "{} 0", "0"})
    void putsBosBeforeAPrompt(String configAndBos, @TempDir Path folder) throws IOException {
        Files.copy(TinyV3.FOLDER.resolve("tokenizer.json"), folder.resolve("tokenizer.json"));
        int space = configAndBos.lastIndexOf(' ');
        int bos = Integer.parseInt(configAndBos.substring(space + 1));
        if (space > 0) {
            String config = configAndBos.substring(0, space).replace('\'', '"');
            Files.writeString(folder.resolve("tokenizer_config.json"), config);
        }
        int[] text = {47, 438, 86, 1168};
        try (var own = Tokenizer.open(folder)) {
            assertThat(own.encode("Hello world")).isEqualTo(text);
            assertThat(own.encodePrompt("Hello world"))
                    .isEqualTo(bos < 0 ? text : new int[] {bos, text[0], text[1], text[2], text[3]});
        }
    }

    @Test
    void servesTwoThreads() throws InterruptedException, ExecutionException {
        Callable<Boolean> work = () -> {
            for (int seed = 0; seed < 500; seed++) {
                String text = TinyV3.text(new Random(seed), 50, true);
                if (!tokenizer.decode(tokenizer.encode(text), true).equals(text)) {
                    return false;
                }
            }
            return true;
        };
        try (var threads = Executors.newFixedThreadPool(2)) {
            for (Future<Boolean> right : threads.invokeAll(List.of(work, work))) {
                assertThat(right.get()).isTrue();
            }
        }
    }

    @Test
    void closesWhileOthersEncode() throws InterruptedException, ExecutionException {
        for (int round = 0; round < 10; round++) {
            var own = TinyV3.open();
            Callable<String> encode = () -> {
                try {
                    while (true) {
                        own.encode("Once upon a time 😀");
                    }
                } catch (IllegalStateException e) {
                    return e.getMessage();
                }
            };
            try (var threads = Executors.newFixedThreadPool(2)) {
                var results = List.of(threads.submit(encode), threads.submit(encode));
                Thread.sleep(2);
                own.close();
                own.close();
                for (var result : results) {
                    assertThat(result.get()).isEqualTo("the tokenizer is closed");
                }
            }
            assertThatThrownBy(() -> own.encode("")).isInstanceOf(IllegalStateException.class);
        }
    }

    @Test
    void closeReturnsTheMemory() throws IOException {
        openAndClose(20);
        long before = residentBytes();
        openAndClose(100);
        // One open tokenizer of this vocabulary takes more than 1 MB: kept ones would be 100 MB and more.
        assertThat(residentBytes() - before).isLessThan(40L << 20);
    }

    private static void openAndClose(int times) {
        for (int i = 0; i < times; i++) {
            try (var own = TinyV3.open()) {
                assertThat(own.encode("a")).hasSize(1);
            }
        }
        System.gc();
    }

    private static long residentBytes() throws IOException {
        try (var pages = new Scanner(Path.of("/proc/self/statm"), StandardCharsets.US_ASCII)) {
            pages.nextLong(); // all of them; resident ones follow
            return pages.nextLong() * 4096;
        }
    }
}
