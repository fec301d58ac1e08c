package org.panamoe.text;

import ai.djl.huggingface.tokenizers.jni.TokenizersLibrary;
import java.nio.file.Path;
import java.util.concurrent.locks.ReentrantReadWriteLock;
import org.jspecify.annotations.Nullable;

/**
 * Text to tokens by the Hugging Face library, and back. Never truncates, pads, prints or opens a socket. Any number of
 * threads may share one; closing waits for those that are encoding.
 */
public final class Tokenizer implements AutoCloseable {
    /** What {@link #bos} and {@link #eos} are where tokenizer_config.json names none. */
    public static final int NONE = -1;

    private final TokenizersLibrary library = NativeTokenizers.library();
    private final Vocabulary vocabulary;
    private final int bos;
    private final int eos;
    private final int[] prefix;

    private final ReentrantReadWriteLock lock = new ReentrantReadWriteLock();
    private long handle; // 0 once closed

    private Tokenizer(Path folder) {
        Path file = folder.resolve("tokenizer.json");
        var config = TokenizerConfig.read(folder);
        vocabulary = ModelFile.read(file, Vocabulary::new);
        try {
            handle = library.createTokenizerFromString(wellFormed(vocabulary.encoder));
        } catch (IllegalCallerException e) { // native access is denied to DJL's module
            throw new IllegalStateException("Hugging Face tokenizers library: " + e.getMessage(), e);
        } catch (RuntimeException e) { // the library throws no other
            throw new IllegalArgumentException(file + ": " + ModelFile.firstLine(e), e);
        }
        try {
            bos = id(config.bosToken(), "bos_token", folder);
            eos = id(config.eosToken(), "eos_token", folder);
            prefix = prefix(config.addBosToken(), folder);
        } catch (RuntimeException e) {
            close();
            throw e;
        }
    }

    /**
     * Reads tokenizer.json and, if it is there, tokenizer_config.json.
     *
     * @throws IllegalArgumentException one line that names the file at fault
     */
    public static Tokenizer open(Path modelFolder) {
        return new Tokenizer(modelFolder);
    }

    /**
     * The tokens of a text as it stands, without BOS. Special tokens written out in the text are recognised. Half a
     * surrogate pair becomes U+FFFD.
     */
    public int[] encode(String text) {
        String valid = wellFormed(text);
        lock.readLock().lock();
        try {
            if (handle == 0) {
                throw new IllegalStateException("the tokenizer is closed");
            }
            long encoding = library.encode(handle, valid, false);
            long[] ids = library.getTokenIds(encoding);
            library.deleteEncoding(encoding);
            int[] tokens = new int[ids.length];
            for (int i = 0; i < ids.length; i++) {
                tokens[i] = (int) ids[i];
            }
            return tokens;
        } finally {
            lock.readLock().unlock();
        }
    }

    /**
     * As {@link #encode}, with BOS in front if add_bos_token says so; where that key is absent, with what the
     * post-processor of tokenizer.json puts in front. Not for the texts of a {@link ChatFormat}, which bring their BOS.
     */
    public int[] encodePrompt(String text) {
        int[] tokens = encode(text);
        int[] prompt = new int[prefix.length + tokens.length];
        System.arraycopy(prefix, 0, prompt, 0, prefix.length);
        System.arraycopy(tokens, 0, prompt, prefix.length, tokens.length);
        return prompt;
    }

    /**
     * The text of the tokens; invalid UTF-8 in it becomes U+FFFD. An id that the vocabulary lacks has no text.
     *
     * @param withSpecials whether special tokens are written out or skipped
     */
    public String decode(int[] tokens, boolean withSpecials) {
        var stream = new TextStream(vocabulary, withSpecials);
        for (int token : tokens) {
            stream.append(token);
        }
        return stream.end();
    }

    /** As {@link #decode(int[], boolean)}, special tokens skipped. */
    public String decode(int[] tokens) {
        return decode(tokens, false);
    }

    /** A decoder for tokens that come one by one; special tokens are skipped. */
    public TextStream stream() {
        return new TextStream(vocabulary, false);
    }

    /** The token before a text, or {@link #NONE}. */
    public int bos() {
        return bos;
    }

    /** The token after a text, or {@link #NONE}. The model's config.json may name further ones. */
    public int eos() {
        return eos;
    }

    /** Ids are below this, added tokens included. The embedding of a model may have more rows. */
    public int size() {
        return vocabulary.size();
    }

    /** A second call does nothing. */
    @Override
    public void close() {
        lock.writeLock().lock();
        try {
            if (handle != 0) {
                library.deleteTokenizer(handle);
                handle = 0;
            }
        } finally {
            lock.writeLock().unlock();
        }
    }

    private int id(@Nullable String token, String key, Path folder) {
        if (token == null) {
            return NONE;
        }
        int[] ids = encode(token);
        if (ids.length != 1) {
            throw new IllegalArgumentException(folder.resolve("tokenizer_config.json") + ": " + key + " is " + token
                    + ", which is " + ids.length + " tokens in tokenizer.json");
        }
        return ids[0];
    }

    private int[] prefix(@Nullable Boolean addBos, Path folder) {
        if (addBos == null) {
            return vocabulary.prefix;
        }
        if (addBos && bos == NONE) {
            throw new IllegalArgumentException(
                    folder.resolve("tokenizer_config.json") + ": add_bos_token is true, but there is no bos_token");
        }
        return addBos ? new int[] {bos} : new int[0];
    }

    /** JNI hands over surrogates as they are; one half alone would spoil every other pair of the text. */
    private static String wellFormed(String text) {
        StringBuilder mended = null;
        for (int i = 0; i < text.length(); i++) {
            char c = text.charAt(i);
            if (!Character.isSurrogate(c)) {
                continue;
            }
            if (Character.isHighSurrogate(c) && i + 1 < text.length() && Character.isLowSurrogate(text.charAt(i + 1))) {
                i++;
                continue;
            }
            if (mended == null) {
                mended = new StringBuilder(text);
            }
            mended.setCharAt(i, '\uFFFD');
        }
        return mended == null ? text : mended.toString();
    }
}
