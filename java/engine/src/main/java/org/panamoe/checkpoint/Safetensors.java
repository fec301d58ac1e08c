package org.panamoe.checkpoint;

import java.io.IOException;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.ByteOrder;
import java.nio.channels.FileChannel;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collections;
import java.util.Comparator;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import org.jspecify.annotations.Nullable;
import org.panamoe.tensor.DType;
import org.panamoe.tensor.Tensor;
import tools.jackson.core.JsonParser;
import tools.jackson.core.JsonToken;

/**
 * One safetensors file, mapped read-only: eight bytes of header length, a JSON header, and tensors without gaps or
 * overlaps, at any alignment. The header is checked when the file is mapped; data is read where it lies.
 *
 * <p>Whoever shortens the file while it is mapped takes the memory away under the reader.
 */
public final class Safetensors {
    /** The format's own limit. */
    private static final int MAX_HEADER = 100_000_000;

    private static final int MAX_RANK = 16;

    private final String file;
    private final MemorySegment data;
    private final Map<String, Entry> entries = new LinkedHashMap<>();
    private final Map<String, String> metadata = new LinkedHashMap<>();

    private Safetensors(Path path, MemorySegment mapped) {
        file = Json.fileName(path);
        if (mapped.byteSize() < 8)
            throw new CheckpointException(file, "%d bytes, but a header length takes 8".formatted(mapped.byteSize()));
        long header = mapped.get(ValueLayout.JAVA_LONG_UNALIGNED.withOrder(ByteOrder.LITTLE_ENDIAN), 0);
        if (header < 0 || header > mapped.byteSize() - 8)
            throw new CheckpointException(
                    file,
                    "header length %s, but %d bytes follow it"
                            .formatted(Long.toUnsignedString(header), mapped.byteSize() - 8));
        if (header > MAX_HEADER)
            throw new CheckpointException(
                    file, "header length %d, more than the %d allowed".formatted(header, MAX_HEADER));
        data = mapped.asSlice(8 + header);
        Json.stream(file, mapped.asSlice(8, header).toArray(ValueLayout.JAVA_BYTE), this::readHeader);
        checkLayout();
    }

    /** The file stays mapped until {@code arena} closes; from then on its tensors throw. */
    public static Safetensors map(Path file, Arena arena) {
        if (!Files.isRegularFile(file))
            throw new CheckpointException(file.toString(), Files.exists(file) ? "not a file" : "does not exist");
        try (var channel = FileChannel.open(file, StandardOpenOption.READ)) {
            return new Safetensors(file, channel.map(FileChannel.MapMode.READ_ONLY, 0, channel.size(), arena));
        } catch (IOException e) {
            throw Json.unreadable(file, e);
        }
    }

    /** The file's name without its folder, for messages. */
    public String file() {
        return file;
    }

    public Set<String> names() {
        return Collections.unmodifiableSet(entries.keySet());
    }

    public Map<String, String> metadata() {
        return Collections.unmodifiableMap(metadata);
    }

    /** Sizes as the header has them, also of a tensor whose type is not supported. */
    long[] shape(String name) {
        return entry(name).shape.clone();
    }

    /** Of its elements; null if it is one that {@link DType} lacks. */
    @Nullable
    DType dtype(String name) {
        return dtypeOf(entry(name).dtype);
    }

    /** @throws CheckpointException if there is no such tensor, or its elements are of a type that {@link DType} lacks */
    public Tensor tensor(String name) {
        Entry entry = entry(name);
        DType dtype = dtypeOf(entry.dtype);
        if (dtype == null)
            throw new CheckpointException(
                    file,
                    "%s: dtype %s is not supported (%s are)"
                            .formatted(name, entry.dtype, Arrays.toString(DType.values())));
        return new Tensor(data.asSlice(entry.begin, entry.end - entry.begin), dtype, entry.shape);
    }

    private Entry entry(String name) {
        Entry entry = entries.get(name);
        if (entry == null) throw new CheckpointException(file, name + ": no such tensor");
        return entry;
    }

    private static @Nullable DType dtypeOf(String name) {
        for (DType dtype : DType.values()) if (dtype.name().equals(name)) return dtype;
        return null;
    }

    /** Nothing is left after the header's object; JSON's own errors come as JacksonException. */
    private Safetensors readHeader(JsonParser json) {
        expect(json, JsonToken.START_OBJECT, "the header");
        boolean described = false;
        while (json.nextToken() != JsonToken.END_OBJECT) {
            String name = json.currentName();
            if (name.equals("__metadata__")) {
                if (described) throw wrong(name, "is named twice");
                described = true;
                readMetadata(json);
            } else if (entries.put(name, readEntry(name, json)) != null) throw wrong(name, "is named twice");
        }
        if (json.nextToken() != null) throw new CheckpointException(file, "something follows the header's object");
        return this;
    }

    private void readMetadata(JsonParser json) {
        expect(json, JsonToken.START_OBJECT, "__metadata__");
        while (json.nextToken() != JsonToken.END_OBJECT) {
            String key = json.currentName();
            expect(json, JsonToken.VALUE_STRING, "__metadata__: " + key);
            if (metadata.put(key, json.getString()) != null) throw wrong("__metadata__: " + key, "is named twice");
        }
    }

    private Entry readEntry(String name, JsonParser json) {
        String dtype = null;
        long[] shape = null, offsets = null;
        expect(json, JsonToken.START_OBJECT, name);
        while (json.nextToken() != JsonToken.END_OBJECT) {
            String key = json.currentName();
            switch (key) {
                case "dtype" -> {
                    if (dtype != null) throw wrong(name, "has two dtypes");
                    expect(json, JsonToken.VALUE_STRING, name + ": dtype");
                    dtype = json.getString();
                }
                case "shape" -> {
                    if (shape != null) throw wrong(name, "has two shapes");
                    shape = readSizes(name + ": shape", json);
                }
                case "data_offsets" -> {
                    if (offsets != null) throw wrong(name, "has two data_offsets");
                    offsets = readSizes(name + ": data_offsets", json);
                }
                default -> {
                    json.nextToken();
                    json.skipChildren();
                }
            }
        }
        if (dtype == null) throw wrong(name, "dtype is missing");
        if (shape == null) throw wrong(name, "shape is missing");
        if (offsets == null) throw wrong(name, "data_offsets are missing");
        return checked(name, dtype, shape, offsets);
    }

    private long[] readSizes(String where, JsonParser json) {
        expect(json, JsonToken.START_ARRAY, where);
        long[] sizes = new long[MAX_RANK];
        int n = 0;
        while (json.nextToken() != JsonToken.END_ARRAY) {
            if (n == MAX_RANK) throw wrong(where, "has more than %d numbers".formatted(MAX_RANK));
            boolean integer = json.currentToken() == JsonToken.VALUE_NUMBER_INT
                    && json.getNumberType() != JsonParser.NumberType.BIG_INTEGER;
            if (!integer || json.getLongValue() < 0) throw wrong(where, "%s is not a size".formatted(shown(json)));
            sizes[n++] = json.getLongValue();
        }
        return Arrays.copyOf(sizes, n);
    }

    private Entry checked(String name, String dtype, long[] shape, long[] offsets) {
        String given = "data_offsets %s".formatted(Arrays.toString(offsets));
        if (offsets.length != 2) throw wrong(name, given + " are not two numbers");
        long begin = offsets[0], end = offsets[1];
        if (begin > end) throw wrong(name, given + ": the end is before the beginning");
        if (end > data.byteSize())
            throw wrong(name, "%s, but the file has %d bytes of data".formatted(given, data.byteSize()));
        DType known = dtypeOf(dtype);
        // The size of an unknown type is unknown; it is refused when the tensor is asked for.
        if (known != null && bytes(name, known, shape) != end - begin)
            throw wrong(
                    name,
                    "%s are %d bytes, but %s%s takes %d"
                            .formatted(given, end - begin, dtype, Arrays.toString(shape), bytes(name, known, shape)));
        return new Entry(dtype, shape, begin, end);
    }

    private long bytes(String name, DType dtype, long[] shape) {
        try {
            return Tensor.bytes(dtype, shape);
        } catch (IllegalArgumentException e) {
            throw wrong(name, String.valueOf(e.getMessage()));
        }
    }

    /** The format allows neither overlaps nor holes, nor bytes after the last tensor. */
    private void checkLayout() {
        List<Map.Entry<String, Entry>> sorted = new ArrayList<>(entries.entrySet());
        sorted.sort(Comparator.<Map.Entry<String, Entry>>comparingLong(e -> e.getValue().begin)
                .thenComparingLong(e -> e.getValue().end));
        long end = 0;
        String before = "the header";
        for (var e : sorted) {
            long begin = e.getValue().begin;
            if (begin < end)
                throw wrong(
                        e.getKey(),
                        "data_offsets [%d, %d] overlap %s, which ends at %d"
                                .formatted(begin, e.getValue().end, before, end));
            if (begin > end)
                throw wrong(
                        e.getKey(),
                        "data_offsets [%d, %d] leave a hole after %s, which ends at %d"
                                .formatted(begin, e.getValue().end, before, end));
            end = e.getValue().end;
            before = e.getKey();
        }
        if (end != data.byteSize())
            throw new CheckpointException(
                    file,
                    "the last tensor, %s, ends at %d, but the file has %d bytes of data"
                            .formatted(before, end, data.byteSize()));
    }

    private void expect(JsonParser json, JsonToken token, String where) {
        if (json.nextToken() != token)
            throw wrong(where, "%s where %s is expected".formatted(shown(json), token.name()));
    }

    private static String shown(JsonParser json) {
        if (json.currentToken() == null) return "the end";
        String text = String.valueOf(json.getString());
        return text.length() <= 80 ? text : text.substring(0, 77) + "...";
    }

    private CheckpointException wrong(String where, String problem) {
        return new CheckpointException(file, where + ": " + problem);
    }

    private static final class Entry {
        final String dtype;
        final long[] shape;
        /** Bytes of the data part. */
        final long begin, end;

        Entry(String dtype, long[] shape, long begin, long end) {
            this.dtype = dtype;
            this.shape = shape;
            this.begin = begin;
            this.end = end;
        }
    }
}
