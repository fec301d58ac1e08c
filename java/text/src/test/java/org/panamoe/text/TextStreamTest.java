package org.panamoe.text;

import static org.assertj.core.api.Assertions.assertThat;

import ai.djl.huggingface.tokenizers.jni.TokenizersLibrary;
import java.io.IOException;
import java.nio.file.Files;
import java.util.Arrays;
import java.util.Random;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.TestInstance;

@TestInstance(TestInstance.Lifecycle.PER_CLASS)
final class TextStreamTest {
    private Tokenizer tokenizer;
    private long library;

    @BeforeAll
    void open() throws IOException {
        tokenizer = TinyV3.open();
        library = TokenizersLibrary.LIB.createTokenizerFromString(
                Files.readString(TinyV3.FOLDER.resolve("tokenizer.json")));
    }

    @AfterAll
    void close() {
        tokenizer.close();
        TokenizersLibrary.LIB.deleteTokenizer(library);
    }

    /** Random tokens of this vocabulary are mostly invalid UTF-8 somewhere: a quarter of it are parts of characters. */
    @Test
    void isTheLibrarysDecode() {
        for (int seed = 0; seed < 1000; seed++) {
            var random = new Random(seed);
            // Half of them from the single bytes, so that long sequences of continuation bytes come up too.
            int[] tokens = TinyV3.tokens(random, random.nextInt(60), seed % 2 == 0 ? 2060 : 8 + 256);
            long[] ids = Arrays.stream(tokens).asLongStream().toArray();
            for (boolean withSpecials : new boolean[] {false, true}) {
                assertThat(tokenizer.decode(tokens, withSpecials))
                        .as("seed %d", seed)
                        .isEqualTo(TokenizersLibrary.LIB.decode(library, ids, !withSpecials));
            }
        }
    }

    @Test
    void piecesAddUpToDecode() {
        int replaced = 0;
        for (int seed = 0; seed < 1000; seed++) {
            var random = new Random(seed);
            int[] tokens = TinyV3.tokens(random, random.nextInt(60), seed % 2 == 0 ? 2060 : 8 + 256);
            var stream = tokenizer.stream();
            var all = new StringBuilder();
            for (int token : tokens) {
                String piece = stream.add(token);
                assertThat(wellFormed(piece)).as("seed %d: %s", seed, piece).isTrue();
                all.append(piece);
            }
            all.append(stream.end());
            assertThat(all.toString()).as("seed %d", seed).isEqualTo(tokenizer.decode(tokens));
            replaced += all.indexOf("\uFFFD") >= 0 ? 1 : 0;
        }
        assertThat(replaced).isGreaterThan(300); // else this test tried too little
    }

    /** Of valid text nothing is ever replaced, and what is held back is less than one character. */
    @Test
    void neverBreaksACharacter() {
        int split = 0;
        for (int seed = 0; seed < 500; seed++) {
            String text = TinyV3.text(new Random(seed), 40, false).replace("\uFFFD", ""); // it would look broken
            int[] tokens = tokenizer.encode(text);
            var stream = tokenizer.stream();
            int shown = 0;
            for (int i = 0; i < tokens.length; i++) {
                String piece = stream.add(tokens[i]);
                assertThat(text.startsWith(piece, shown))
                        .as("seed %d, token %d", seed, i)
                        .isTrue();
                assertThat(wellFormed(piece)).as("seed %d, token %d", seed, i).isTrue();
                shown += piece.length();
                String soFar = tokenizer.decode(Arrays.copyOf(tokens, i + 1));
                boolean pending = soFar.endsWith("\uFFFD") && !text.startsWith(soFar);
                assertThat(shown).as("seed %d, token %d", seed, i).isEqualTo(soFar.length() - (pending ? 1 : 0));
                split += pending ? 1 : 0;
            }
            assertThat(stream.end()).isEmpty();
            assertThat(shown).isEqualTo(text.length());
        }
        assertThat(split).isGreaterThan(1000);
    }

    @Test
    void startsAnewAfterItsEnd() {
        int[] emoji = tokenizer.encode("😀");
        assertThat(emoji.length).isGreaterThan(1);
        var stream = tokenizer.stream();
        assertThat(stream.add(emoji[0])).isEmpty();
        assertThat(stream.end()).isEqualTo("\uFFFD");
        assertThat(stream.end()).isEmpty();
        assertThat(stream.add(tokenizer.encode("a")[0])).isEqualTo("a");
    }

    @Test
    void skipsSpecialTokensEvenWithinACharacter() {
        int[] emoji = tokenizer.encode("😀");
        var stream = tokenizer.stream();
        var all = new StringBuilder();
        for (int token : emoji) {
            all.append(stream.add(token)).append(stream.add(tokenizer.eos()));
        }
        assertThat(all.toString()).isEqualTo("😀");
    }

    private static boolean wellFormed(String text) {
        return text.codePoints().noneMatch(c -> c >= Character.MIN_SURROGATE && c <= Character.MAX_SURROGATE);
    }
}
