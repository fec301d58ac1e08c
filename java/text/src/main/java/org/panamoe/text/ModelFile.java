package org.panamoe.text;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.charset.CharacterCodingException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.function.Function;
import org.jspecify.annotations.Nullable;
import tools.jackson.core.JacksonException;
import tools.jackson.core.JsonParser;
import tools.jackson.core.JsonToken;
import tools.jackson.core.ObjectReadContext;
import tools.jackson.core.StreamReadConstraints;
import tools.jackson.core.json.JsonFactory;

/**
 * A file of a model folder. Whatever is wrong with it is an IllegalArgumentException of one line with its name.
 *
 * <p>JSON is read by Jackson's streaming part alone: the first ObjectMapper of a JVM costs several times what reading
 * and loading the whole of a small tokenizer does.
 */
final class ModelFile {
    /** Nested deeper, JSON would stop the native library, and the JVM with it. */
    private static final int MAX_DEPTH = 64;

    static final JsonFactory JSON = JsonFactory.builder()
            .streamReadConstraints(
                    StreamReadConstraints.builder().maxNestingDepth(MAX_DEPTH).build())
            .build();

    private ModelFile() {}

    /** @param parser may throw an IllegalArgumentException that says what is wrong, without the file's name */
    static <T> T read(Path file, Function<String, T> parser) {
        try {
            var utf8 = ByteBuffer.wrap(Files.readAllBytes(file));
            return parser.apply(StandardCharsets.UTF_8.newDecoder().decode(utf8).toString());
        } catch (NoSuchFileException e) {
            throw new IllegalArgumentException(file + ": no such file", e);
        } catch (CharacterCodingException e) {
            throw new IllegalArgumentException(file + ": not UTF-8", e);
        } catch (IOException e) {
            throw new IllegalArgumentException(file + ": cannot be read: " + firstLine(e), e);
        } catch (JacksonException e) {
            int line = e.getLocation() == null ? 0 : e.getLocation().getLineNr();
            String where = line > 0 ? " (line " + line + ")" : "";
            throw new IllegalArgumentException(file + ": " + withoutSource(e.getOriginalMessage()) + where, e);
        } catch (IllegalArgumentException e) {
            throw new IllegalArgumentException(file + ": " + firstLine(e), e);
        }
    }

    /** Jackson says where an open object began, but by a source that it does not name. */
    private static String withoutSource(String message) {
        return message.replaceAll(" \\(start marker at \\[Source:[^\\]]*\\]\\)", "");
    }

    static JsonParser parser(String json) {
        return JSON.createParser(ObjectReadContext.empty(), json);
    }

    /** The value at the parser: Map, List, String, Number, Boolean or null. */
    static @Nullable Object value(JsonParser json) {
        return switch (json.currentToken()) {
            case START_OBJECT -> {
                Map<String, @Nullable Object> map = new LinkedHashMap<>();
                while (json.nextToken() != JsonToken.END_OBJECT) {
                    String key = json.currentName();
                    json.nextToken();
                    map.put(key, value(json));
                }
                yield map;
            }
            case START_ARRAY -> {
                List<@Nullable Object> list = new ArrayList<>();
                while (json.nextToken() != JsonToken.END_ARRAY) {
                    list.add(value(json));
                }
                yield list;
            }
            case VALUE_STRING -> json.getString();
            case VALUE_NUMBER_INT, VALUE_NUMBER_FLOAT -> json.getNumberValue();
            case VALUE_TRUE -> true;
            case VALUE_FALSE -> false;
            default -> null;
        };
    }

    /** What lies at a path of keys, or null. */
    static @Nullable Object at(@Nullable Object value, String... path) {
        for (String key : path) {
            value = value instanceof Map<?, ?> map ? map.get(key) : null;
        }
        return value;
    }

    /** The items at a path of keys; none where no list is. */
    static List<?> items(@Nullable Object value, String... path) {
        return at(value, path) instanceof List<?> list ? list : List.of();
    }

    static String firstLine(Exception e) {
        return String.valueOf(e.getMessage()).lines().findFirst().orElse("");
    }
}
