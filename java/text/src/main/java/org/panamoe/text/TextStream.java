package org.panamoe.text;

/**
 * Text from tokens, as they come. A token may hold any part of a character, so bytes are kept until their character is
 * complete: no piece ends within a UTF-8 sequence or a surrogate pair, and all pieces together, {@link #end} included,
 * are {@link Tokenizer#decode} of all tokens. Bytes that no later byte can complete become U+FFFD, one for each longest
 * start of a valid sequence (Unicode 3.9, as in the Hugging Face library; Java's own decoder counts differently).
 *
 * <p>Costs one step for each byte. Stays usable when its tokenizer is closed. For one thread.
 */
public final class TextStream {
    private final Vocabulary vocabulary;
    private final boolean withSpecials;
    private final StringBuilder text = new StringBuilder();

    // The character under way: its bits so far, the bytes it still wants, and what the next of them must lie between.
    private int character;
    private int wanted;
    private int low;
    private int high;

    TextStream(Vocabulary vocabulary, boolean withSpecials) {
        this.vocabulary = vocabulary;
        this.withSpecials = withSpecials;
    }

    /**
     * The text that this token completes; empty if it completes none.
     *
     * @param token an id the vocabulary lacks has no text (the embedding of a model may have more rows than that)
     */
    public String add(int token) {
        append(token);
        return take();
    }

    /** What is left: U+FFFD if the last character is incomplete. The stream is then as new. */
    public String end() {
        if (wanted > 0) {
            wanted = 0;
            text.append('\uFFFD');
        }
        return take();
    }

    void append(int token) {
        for (byte b : vocabulary.bytes(token, withSpecials)) {
            append(b);
        }
    }

    private String take() {
        String piece = text.toString();
        text.setLength(0);
        return piece;
    }

    private void append(byte signed) {
        int b = signed & 0xFF;
        if (wanted > 0) {
            if (b >= low && b <= high) {
                character = (character << 6) | (b & 0x3F);
                low = 0x80;
                high = 0xBF;
                if (--wanted == 0) {
                    text.appendCodePoint(character);
                }
                return;
            }
            wanted = 0; // this byte starts anew
            text.append('\uFFFD');
        }
        // The second byte's range shuts out overlong forms, surrogates and what lies beyond U+10FFFF.
        if (b < 0x80) {
            text.append((char) b);
        } else if (b >= 0xC2 && b <= 0xDF) {
            start(b & 0x1F, 1, 0x80, 0xBF);
        } else if (b >= 0xE0 && b <= 0xEF) {
            start(b & 0x0F, 2, b == 0xE0 ? 0xA0 : 0x80, b == 0xED ? 0x9F : 0xBF);
        } else if (b >= 0xF0 && b <= 0xF4) {
            start(b & 0x07, 3, b == 0xF0 ? 0x90 : 0x80, b == 0xF4 ? 0x8F : 0xBF);
        } else {
            text.append('\uFFFD');
        }
    }

    private void start(int bits, int wanted, int low, int high) {
        this.character = bits;
        this.wanted = wanted;
        this.low = low;
        this.high = high;
    }
}
