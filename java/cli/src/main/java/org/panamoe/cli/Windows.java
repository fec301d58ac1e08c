package org.panamoe.cli;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.charset.CharacterCodingException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import org.panamoe.checkpoint.ModelConfig;
import org.panamoe.text.Tokenizer;

/** A long text in parts that a model can take: BOS, then the next tokens of the text, which are in no other window. */
final class Windows {
    private Windows() {}

    /**
     * @param size positions of a window, BOS included; the last may have fewer
     * @throws IllegalArgumentException if the file has no text, is not UTF-8, or the model no BOS
     */
    static List<int[]> of(Path file, Tokenizer tokenizer, ModelConfig config, int size) throws IOException {
        int bos = tokenizer.bos() != Tokenizer.NONE ? tokenizer.bos() : config.bosTokenId();
        if (bos < 0)
            throw new IllegalArgumentException("the model names no BOS token, and every window begins with it");
        if (size < 2) throw new IllegalArgumentException("a window of %d holds BOS alone".formatted(size));
        int[] text = tokenizer.encode(read(file));
        if (text.length == 0) throw new IllegalArgumentException(file + ": the text is empty");
        var windows = new ArrayList<int[]>();
        for (int from = 0; from < text.length; from += size - 1) {
            int count = Math.min(size - 1, text.length - from);
            int[] window = new int[1 + count];
            window[0] = bos;
            System.arraycopy(text, from, window, 1, count);
            windows.add(window);
        }
        return windows;
    }

    private static String read(Path file) throws IOException {
        if (Files.isDirectory(file)) throw new IOException(file + ": is a folder");
        try {
            return StandardCharsets.UTF_8
                    .newDecoder()
                    .decode(ByteBuffer.wrap(Files.readAllBytes(file)))
                    .toString();
        } catch (CharacterCodingException e) {
            throw new IllegalArgumentException(file + ": not UTF-8", e);
        }
    }
}
