package org.panamoe.text;

import java.net.URISyntaxException;
import java.net.URL;
import java.nio.file.Path;
import java.util.Objects;
import java.util.Random;
import tools.jackson.databind.json.JsonMapper;

/** The tokenizer of our own small model, and texts to try it on. */
final class TinyV3 {
    static final JsonMapper JSON = new JsonMapper();
    static final Path FOLDER = resource("/tiny-v3");

    /** Pieces that meet in {@link #text}: every class of the pre-tokenizer, and every length of UTF-8. */
    private static final String[] PIECES = {
        "a",
        "the",
        " the",
        "Once upon a time",
        "Z",
        "é",
        "ß",
        "И",
        "न",
        "ि",
        "e\u0301",
        "ñ\u0303\u0323",
        "日本",
        "語",
        "ー",
        "ひ",
        "한국",
        "0",
        "12",
        "12345",
        "½",
        "٣",
        " ",
        "  ",
        "\t",
        "\n",
        "\r\n",
        "\n\n",
        "\u00A0",
        "\u3000",
        ".",
        "...",
        "!?",
        "'s",
        "'",
        "\"",
        "(",
        "#",
        "$",
        "€",
        "±",
        "_",
        "<",
        "<|",
        "｜",
        "▁",
        "<think",
        "\0",
        "\u0001",
        "\u007F",
        "\u0085",
        "\u200B",
        "\u200D",
        "\uFE0F",
        "\uFEFF",
        "\uFFFD",
        "\uFFFF",
        "😀",
        "👩‍👩‍👧",
        "🇩🇪",
        "👍🏽",
        "𝔸",
        "𐍈",
        "\uDBFF\uDFFF"
    };

    /** Written out, these are one token each; ids 0 to 7. */
    static final String[] SPECIALS = {
        "<｜begin▁of▁sentence｜>",
        "<｜end▁of▁sentence｜>",
        "<｜▁pad▁｜>",
        "<｜User｜>",
        "<｜Assistant｜>",
        "<think>",
        "</think>",
        "<｜EOT｜>"
    };

    private TinyV3() {}

    static Path resource(String name) {
        try {
            URL url = Objects.requireNonNull(TinyV3.class.getResource(name), name);
            return Path.of(url.toURI());
        } catch (URISyntaxException e) {
            throw new AssertionError(e);
        }
    }

    static Tokenizer open() {
        return Tokenizer.open(FOLDER);
    }

    /** Valid text of so many pieces, special tokens among them if asked. */
    static String text(Random random, int pieces, boolean withSpecials) {
        var text = new StringBuilder();
        for (int i = 0; i < pieces; i++) {
            boolean special = withSpecials && random.nextInt(10) == 0;
            String[] from = special ? SPECIALS : PIECES;
            text.append(from[random.nextInt(from.length)]);
        }
        return text.toString();
    }

    static int[] tokens(Random random, int count, int below) {
        return random.ints(count, 0, below).toArray();
    }
}
