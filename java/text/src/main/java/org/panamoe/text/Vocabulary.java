package org.panamoe.text;

import java.io.StringWriter;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.BitSet;
import java.util.List;
import org.jspecify.annotations.Nullable;
import tools.jackson.core.JsonGenerator;
import tools.jackson.core.JsonParser;
import tools.jackson.core.JsonToken;
import tools.jackson.core.ObjectWriteContext;

/** What tokenizer.json says: the bytes of each token, which tokens are special, and what goes before a prompt. */
final class Vocabulary {
    private static final byte[] NOTHING = {};
    /** Far beyond any vocabulary; keeps a broken file from asking for gigabytes. */
    private static final int MAX_SIZE = 1 << 24;

    private static final byte[] BYTE_OF_CHAR = byteOfChar();

    private byte[][] bytes_V = {};
    private int size;
    private final BitSet special = new BitSet();

    /** Tokens that the file's post-processor puts before a text. */
    final int[] prefix;

    /**
     * The file without what the native library would break on or do unasked. It aborts the process on some faults (JSON
     * errors within a decoder, a post-processor that names no token), and truncates or pads if the file says so. It
     * gets well-formed JSON with what encoding needs, and no more; {@link TextStream} decodes.
     */
    final String encoder;

    Vocabulary(String tokenizerJson) {
        var kept = new StringWriter();
        String model = "";
        Object added = null;
        Object decoder = null;
        Object postProcessor = null;
        try (JsonParser json = ModelFile.parser(tokenizerJson);
                JsonGenerator copy = ModelFile.JSON.createGenerator(ObjectWriteContext.empty(), kept)) {
            require(json.nextToken() == JsonToken.START_OBJECT, "not a JSON object");
            copy.writeStartObject();
            while (json.nextToken() != JsonToken.END_OBJECT) {
                String key = json.currentName();
                json.nextToken();
                switch (key) {
                    case "version", "normalizer", "pre_tokenizer" -> {
                        copy.writeName(key);
                        copy.copyCurrentStructure(json);
                    }
                    case "added_tokens" -> added = ModelFile.value(json);
                    case "decoder" -> decoder = ModelFile.value(json);
                    case "post_processor" -> postProcessor = ModelFile.value(json);
                    case "model" -> model = model(json, tokenizerJson);
                    default -> json.skipChildren();
                }
            }
            require(json.nextToken() == null, "text after the JSON object");
            require(!model.isEmpty(), "no model");
            String type = String.valueOf(ModelFile.at(decoder, "type"));
            require(type.equals("ByteLevel"), "decoder.type is " + type + ", only ByteLevel is known");
            copy.writeName("added_tokens");
            add(ModelFile.items(added), copy);
            copy.writeName("model");
            copy.writeRawValue(model);
            copy.writeEndObject();
        }
        encoder = kept.toString();
        prefix = prefix(postProcessor);
    }

    /** Ids are below this. */
    int size() {
        return size;
    }

    /** Empty for an id that the vocabulary lacks, and for special tokens unless they are asked for. */
    byte[] bytes(int token, boolean withSpecials) {
        if (token < 0 || token >= size || bytes_V[token] == null || (!withSpecials && special.get(token))) {
            return NOTHING;
        }
        return bytes_V[token];
    }

    /** Reads the vocabulary; returns the model as it stands in the file. */
    private String model(JsonParser json, String file) {
        require(json.currentToken() == JsonToken.START_OBJECT, "model is not a JSON object");
        int start = (int) json.currentTokenLocation().getCharOffset();
        while (json.nextToken() != JsonToken.END_OBJECT) {
            String key = json.currentName();
            json.nextToken();
            if (key.equals("vocab")) {
                require(json.currentToken() == JsonToken.START_OBJECT, "model.vocab is not a JSON object");
                while (json.nextToken() != JsonToken.END_OBJECT) {
                    String token = json.currentName();
                    json.nextToken();
                    put(json.getIntValue(), token);
                }
            } else {
                json.skipChildren();
            }
        }
        return file.substring(start, (int) json.currentLocation().getCharOffset());
    }

    /** Added tokens: known to us, and passed on. */
    private void add(List<?> tokens, JsonGenerator copy) {
        copy.writeStartArray();
        for (Object token : tokens) {
            if (!(ModelFile.at(token, "id") instanceof Integer id
                    && ModelFile.at(token, "content") instanceof String text)) {
                throw new IllegalArgumentException("added token " + token + " has no id or no content");
            }
            put(id, text);
            special.set(id, Boolean.TRUE.equals(ModelFile.at(token, "special")));
            copy.writeStartObject();
            copy.writeNumberProperty("id", id);
            copy.writeStringProperty("content", text);
            for (String flag : List.of("single_word", "lstrip", "rstrip", "normalized", "special")) {
                copy.writeBooleanProperty(flag, Boolean.TRUE.equals(ModelFile.at(token, flag)));
            }
            copy.writeEndObject();
        }
        copy.writeEndArray();
    }

    private void put(int id, String token) {
        require(id >= 0 && id < MAX_SIZE, "id " + id + " of token " + token);
        if (id >= bytes_V.length) {
            bytes_V = Arrays.copyOf(bytes_V, Math.max(id + 1, 2 * bytes_V.length));
        }
        bytes_V[id] = bytes(token);
        size = Math.max(size, id + 1);
    }

    /** What the post-processor, or one in its sequence, puts before the text. */
    private static int[] prefix(@Nullable Object processor) {
        for (Object part : ModelFile.items(processor, "processors")) {
            int[] prefix = prefix(part);
            if (prefix.length > 0) {
                return prefix;
            }
        }
        List<Integer> prefix = new ArrayList<>();
        for (Object piece : ModelFile.items(processor, "single")) {
            String name = String.valueOf(ModelFile.at(piece, "SpecialToken", "id"));
            if (name.equals("null")) {
                break; // the text
            }
            for (Object id : ModelFile.items(processor, "special_tokens", name, "ids")) {
                require(id instanceof Integer, "post_processor: id " + id + " of token " + name);
                prefix.add((Integer) id);
            }
        }
        return prefix.stream().mapToInt(Integer::intValue).toArray();
    }

    /** Byte-level BPE writes bytes as characters. A token with other characters (an added one) is its own text. */
    private static byte[] bytes(String token) {
        byte[] bytes = new byte[token.length()];
        for (int i = 0; i < bytes.length; i++) {
            char c = token.charAt(i);
            if (c >= BYTE_OF_CHAR.length || (BYTE_OF_CHAR[c] == 0 && c != 'Ā')) {
                return token.getBytes(StandardCharsets.UTF_8);
            }
            bytes[i] = BYTE_OF_CHAR[c];
        }
        return bytes;
    }

    /** GPT-2's table: a printable byte is its own Latin-1 character, the others follow from U+0100 on. */
    private static byte[] byteOfChar() {
        byte[] table = new byte[0x100 + 68];
        for (int b = 0, next = 0x100; b < 0x100; b++) {
            boolean printable = (b >= '!' && b <= '~') || (b >= 0xA1 && b != 0xAD);
            table[printable ? b : next++] = (byte) b;
        }
        return table;
    }

    private static void require(boolean condition, String otherwise) {
        if (!condition) {
            throw new IllegalArgumentException(otherwise);
        }
    }
}
