package org.panamoe.checkpoint;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.charset.CharacterCodingException;
import java.nio.charset.StandardCharsets;
import java.nio.file.AccessDeniedException;
import java.nio.file.Files;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.HashSet;
import java.util.List;
import java.util.Set;
import java.util.function.Function;
import org.jspecify.annotations.Nullable;
import tools.jackson.core.JacksonException;
import tools.jackson.core.JsonParser;
import tools.jackson.core.StreamReadConstraints;
import tools.jackson.core.StreamReadFeature;
import tools.jackson.core.TokenStreamFactory;
import tools.jackson.core.json.JsonFactory;
import tools.jackson.core.json.JsonReadFeature;
import tools.jackson.databind.DeserializationFeature;
import tools.jackson.databind.JsonNode;
import tools.jackson.databind.json.JsonMapper;
import tools.jackson.databind.node.ObjectNode;

/** One object of a JSON file. Its errors name the file, the field and the value; it knows which keys were asked for. */
final class Json {
    /** Published files have 92,000 entries in an index and some hundred keys in a config. */
    private static final StreamReadConstraints LIMITS = StreamReadConstraints.builder()
            .maxNestingDepth(32)
            .maxTokenCount(20_000_000)
            .build();

    /** Tensor names are not worth a symbol table: each occurs once. */
    private static final JsonFactory FACTORY = JsonFactory.builder()
            .streamReadConstraints(LIMITS)
            .disable(TokenStreamFactory.Feature.CANONICALIZE_PROPERTY_NAMES)
            .build();

    private static final JsonMapper MAPPER = JsonMapper.builder(JsonFactory.builder()
                    .streamReadConstraints(
                            LIMITS.rebuild().maxTokenCount(1_000_000).build())
                    .build())
            .enable(StreamReadFeature.STRICT_DUPLICATE_DETECTION)
            .enable(DeserializationFeature.FAIL_ON_TRAILING_TOKENS)
            // Python writes NaN and Infinity: read, so that the field can be refused by its name.
            .enable(JsonReadFeature.ALLOW_NON_NUMERIC_NUMBERS)
            .build();

    private static final int MAX_TREE_BYTES = 64 << 20;

    private final String file;
    private final String path;
    private final ObjectNode node;
    private final Set<String> asked = new HashSet<>();

    private Json(String file, String path, ObjectNode node) {
        this.file = file;
        this.path = path;
        this.node = node;
    }

    static Json read(Path file) {
        String name = fileName(file);
        byte[] bytes = bytes(file);
        return parse(name, () -> {
            if (MAPPER.readTree(bytes) instanceof ObjectNode object) return new Json(name, "", object);
            throw new CheckpointException(name, "not a JSON object");
        });
    }

    /** What a stream of tokens in UTF-8 says; broken JSON is an error that names the file and the position. */
    static <T> T stream(String file, byte[] json, Function<JsonParser, T> read) {
        // Given bytes, Jackson would guess their encoding, and let some through that are not UTF-8.
        String text = utf8(file, json);
        return parse(file, () -> {
            try (var parser = FACTORY.createParser(tools.jackson.core.ObjectReadContext.empty(), text)) {
                return read.apply(parser);
            }
        });
    }

    private static String utf8(String file, byte[] bytes) {
        try {
            return StandardCharsets.UTF_8
                    .newDecoder()
                    .decode(ByteBuffer.wrap(bytes))
                    .toString();
        } catch (CharacterCodingException e) {
            throw new CheckpointException(file, "its JSON is not UTF-8", e);
        }
    }

    static byte[] bytes(Path file) {
        String name = fileName(file);
        try {
            if (!Files.isRegularFile(file))
                throw new CheckpointException(file.toString(), Files.exists(file) ? "not a file" : "does not exist");
            if (Files.size(file) > MAX_TREE_BYTES)
                throw new CheckpointException(
                        name, "%d bytes, more than the %d allowed".formatted(Files.size(file), MAX_TREE_BYTES));
            return Files.readAllBytes(file);
        } catch (IOException e) {
            throw unreadable(file, e);
        }
    }

    static CheckpointException unreadable(Path file, IOException e) {
        String why = switch (e) {
            case NoSuchFileException missing -> "does not exist";
            case AccessDeniedException denied -> "cannot be read: permission denied";
            default -> "cannot be read: " + e.getClass().getSimpleName() + ": " + e.getMessage();
        };
        return new CheckpointException(file.toString(), why, e);
    }

    static String fileName(Path file) {
        Path name = file.getFileName();
        return (name == null ? file : name).toString();
    }

    /** Whether the key has a value that is not null. */
    boolean has(String key) {
        asked.add(key);
        return node.hasNonNull(key);
    }

    int integer(String key) {
        JsonNode value = required(key);
        return integer(key, value);
    }

    int integer(String key, int absent) {
        return has(key) ? integer(key) : absent;
    }

    /** One integer or a list of them; empty where absent. */
    List<Integer> integers(String key) {
        if (!has(key)) return List.of();
        JsonNode value = required(key);
        if (!value.isArray()) return List.of(integer(key, value));
        var all = new ArrayList<Integer>();
        for (JsonNode one : value) all.add(integer(key, one));
        return all;
    }

    float number(String key) {
        JsonNode value = required(key);
        if (!value.isNumber()) throw wrong(key, "is not a number");
        float number = (float) value.numberValue().doubleValue();
        if (!Float.isFinite(number)) throw wrong(key, "is not a finite number of 32 bits");
        return number;
    }

    float number(String key, float absent) {
        return has(key) ? number(key) : absent;
    }

    boolean flag(String key, boolean absent) {
        if (!has(key)) return absent;
        JsonNode value = required(key);
        if (!value.isBoolean()) throw wrong(key, "is neither true nor false");
        return value.booleanValue();
    }

    String text(String key) {
        JsonNode value = required(key);
        if (!value.isString()) throw wrong(key, "is not a string");
        return value.stringValue();
    }

    String text(String key, String absent) {
        return has(key) ? text(key) : absent;
    }

    List<String> texts(String key) {
        if (!has(key)) return List.of();
        var all = new ArrayList<String>();
        if (!required(key).isArray()) throw wrong(key, "is not a list of strings");
        for (JsonNode one : required(key)) {
            if (!one.isString()) throw wrong(key, "is not a list of strings");
            all.add(one.stringValue());
        }
        return all;
    }

    @Nullable
    Json object(String key) {
        if (!has(key)) return null;
        if (required(key) instanceof ObjectNode object) return new Json(file, path + key + ".", object);
        throw wrong(key, "is not an object");
    }

    String file() {
        return file;
    }

    /** Refuses a value that the key must not have. */
    void require(String key, boolean right, String problem) {
        if (!right) throw wrong(key, problem);
    }

    /**
     * Refuses every key that was not asked for, is not harmless and has a value: it may change what the model computes. A
     * key that is null or false switches nothing on.
     */
    void refuseOthers(Set<String> harmless) {
        for (var property : node.properties()) {
            String key = property.getKey();
            JsonNode value = property.getValue();
            boolean off = value.isNull() || (value.isBoolean() && !value.booleanValue());
            if (!asked.contains(key) && !harmless.contains(key) && !key.startsWith("_") && !off)
                throw wrong(key, "is not understood here, and may change what the model computes");
        }
    }

    CheckpointException wrong(String key, String problem) {
        JsonNode value = node.path(key);
        String shown = value.isMissingNode() ? "" : value.toString() + " ";
        if (shown.length() > 80) shown = shown.substring(0, 77) + "... ";
        return new CheckpointException(file + ": " + path + key, shown + problem);
    }

    private JsonNode required(String key) {
        if (!has(key)) throw wrong(key, node.has(key) ? "but is required" : "missing");
        return node.get(key);
    }

    private int integer(String key, JsonNode value) {
        if (!value.isIntegralNumber() || !value.canConvertToInt()) throw wrong(key, "is not an integer of 32 bits");
        return value.intValue();
    }

    private interface Parse<T> {
        T parse();
    }

    private static <T> T parse(String file, Parse<T> body) {
        try {
            return body.parse();
        } catch (JacksonException e) {
            var at = e.getLocation();
            String where = at == null ? "" : ", line %d, column %d".formatted(at.getLineNr(), at.getColumnNr());
            // Where an open object began is said by a source that has no name.
            String message = e.getOriginalMessage().replaceAll(" \\(start marker at \\[Source:[^\\]]*\\]\\)", "");
            throw new CheckpointException(file + where, message, e);
        }
    }
}
