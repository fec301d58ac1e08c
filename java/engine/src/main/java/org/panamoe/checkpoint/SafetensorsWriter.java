package org.panamoe.checkpoint;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.channels.FileChannel;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.nio.file.StandardOpenOption;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.UUID;
import org.jspecify.annotations.Nullable;
import org.panamoe.tensor.DType;
import org.panamoe.tensor.Tensor;
import tools.jackson.databind.json.JsonMapper;

/**
 * Writes one safetensors file: the header first, from the planned shapes, then each tensor at its place, in any order. All
 * goes to a file beside the target, which takes the target's name when everything is written: nobody sees half a file. A
 * target that is not a plain file, such as a device, is written directly.
 *
 * <p>An error of the disk is an {@link IOException} that names the target.
 */
public final class SafetensorsWriter implements AutoCloseable {
    private static final long CHUNK = 1 << 30;

    /** What a file will hold: name, type and shape of each tensor, in the order of {@link #add}. */
    public static final class Plan {
        private final Map<String, Planned> tensors = new LinkedHashMap<>();
        private final Map<String, String> metadata = new LinkedHashMap<>();

        public Plan() {}

        /** @throws IllegalArgumentException if the name is taken or kept, or a size is negative or too large */
        public Plan add(String name, DType dtype, long... shape) {
            if (name.equals("__metadata__") || tensors.putIfAbsent(name, new Planned(dtype, shape)) != null)
                throw new IllegalArgumentException(name + " is planned twice, or not the name of a tensor");
            return this;
        }

        public Plan metadata(String key, String value) {
            metadata.put(key, value);
            return this;
        }
    }

    private final Path file;
    private final @Nullable Path temporary;
    private final FileChannel channel;
    private final Map<String, Place> missing = new HashMap<>();
    private long dataAt;

    private SafetensorsWriter(Path file, @Nullable Path temporary, FileChannel channel) {
        this.file = file;
        this.temporary = temporary;
        this.channel = channel;
    }

    /** @throws IllegalArgumentException if all tensors together are too large for a file; then nothing is left of it */
    public static SafetensorsWriter create(Path file, Plan plan) throws IOException {
        boolean direct = Files.exists(file) && !Files.isRegularFile(file);
        // What a link leads to is replaced, not the link.
        Path target = !direct && Files.exists(file) ? file.toRealPath() : file;
        Path temporary =
                direct ? null : target.resolveSibling("." + Json.fileName(target) + "." + UUID.randomUUID() + ".tmp");
        if (temporary != null) temporary.toFile().deleteOnExit(); // for Ctrl-C
        SafetensorsWriter writer = null;
        try {
            var channel = temporary == null
                    ? FileChannel.open(file, StandardOpenOption.WRITE)
                    : FileChannel.open(temporary, StandardOpenOption.WRITE, StandardOpenOption.CREATE_NEW);
            writer = new SafetensorsWriter(target, temporary, channel);
            writer.writeHeader(plan);
            return writer;
        } catch (IOException | RuntimeException | Error e) {
            if (writer != null) writer.close();
            if (e instanceof IOException io) throw named(file, io);
            throw e;
        }
    }

    /** All at once; the tensors must lie on the host. */
    public static void write(Path file, Map<String, Tensor> tensors, Map<String, String> metadata) throws IOException {
        var plan = new Plan();
        tensors.forEach((name, tensor) -> plan.add(name, tensor.dtype, Checkpoint.shape(tensor)));
        metadata.forEach(plan::metadata);
        try (var writer = create(file, plan)) {
            for (var e : tensors.entrySet()) writer.write(e.getKey(), e.getValue());
            writer.commit();
        }
    }

    /** @throws IllegalArgumentException if this tensor is not planned, was written already, or has another type or size */
    public void write(String name, Tensor tensor) throws IOException {
        Place place = missing.get(name);
        if (place == null) throw new IllegalArgumentException(name + ": not planned, or written already");
        Planned planned = place.planned;
        if (tensor.dtype != planned.dtype || tensor.bytes() != planned.bytes)
            throw new IllegalArgumentException(
                    "%s: %s was planned with %d bytes of %s".formatted(name, tensor, planned.bytes, planned.dtype));
        try {
            for (long done = 0; done < planned.bytes; done += CHUNK) {
                long size = Math.min(CHUNK, planned.bytes - done);
                write(tensor.data.asSlice(done, size).asByteBuffer(), dataAt + place.offset + done);
            }
        } catch (IOException e) {
            throw named(file, e);
        }
        missing.remove(name);
    }

    /** Makes the file appear. Without it, closing leaves the target as it was. */
    public void commit() throws IOException {
        if (!missing.isEmpty())
            throw new IllegalStateException("%s: %d planned tensors were not written, %s among them"
                    .formatted(file, missing.size(), missing.keySet().iterator().next()));
        try {
            if (temporary != null) {
                channel.force(true);
                channel.close();
                Files.move(temporary, file, StandardCopyOption.ATOMIC_MOVE, StandardCopyOption.REPLACE_EXISTING);
            }
        } catch (IOException e) {
            throw named(file, e);
        }
    }

    @Override
    public void close() throws IOException {
        channel.close();
        if (temporary != null) Files.deleteIfExists(temporary);
    }

    /** Wide elements first, so that every tensor is aligned to its elements. */
    private void writeHeader(Plan plan) throws IOException {
        var header = new LinkedHashMap<String, Object>();
        if (!plan.metadata.isEmpty()) header.put("__metadata__", plan.metadata);
        List<Map.Entry<String, Planned>> ordered = new ArrayList<>(plan.tensors.entrySet());
        ordered.sort(Comparator.comparingInt(e -> -e.getValue().dtype.bytes));
        long end = 0;
        for (var e : ordered) {
            Planned planned = e.getValue();
            var entry = new LinkedHashMap<String, Object>();
            entry.put("dtype", planned.dtype.name());
            entry.put("shape", planned.shape);
            if (end + planned.bytes < 0)
                throw new IllegalArgumentException("%s: %d bytes behind %d others are too many for a file"
                        .formatted(e.getKey(), planned.bytes, end));
            entry.put("data_offsets", new long[] {end, end + planned.bytes});
            header.put(e.getKey(), entry);
            missing.put(e.getKey(), new Place(planned, end));
            end += planned.bytes;
        }
        byte[] json = new JsonMapper().writeValueAsString(header).getBytes(StandardCharsets.UTF_8);
        int padded = Math.ceilDiv(json.length, 8) * 8;
        var bytes = ByteBuffer.allocate(8 + padded)
                .order(ByteOrder.LITTLE_ENDIAN)
                .putLong(padded)
                .put(json);
        while (bytes.hasRemaining()) bytes.put((byte) ' ');
        write(bytes.flip(), 0);
        dataAt = 8L + padded;
    }

    private void write(ByteBuffer bytes, long position) throws IOException {
        for (long at = position; bytes.hasRemaining(); ) at += channel.write(bytes, at);
    }

    private static IOException named(Path file, IOException e) {
        return new IOException("%s: cannot be written: %s".formatted(file, e.getMessage()), e);
    }

    private record Place(Planned planned, long offset) {}

    private static final class Planned {
        final DType dtype;
        final long[] shape;
        final long bytes;

        Planned(DType dtype, long[] shape) {
            this.dtype = dtype;
            this.shape = shape.clone();
            bytes = Tensor.bytes(dtype, shape);
        }
    }
}
