package org.panamoe.checkpoint;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatIOException;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.io.IOException;
import java.lang.foreign.Arena;
import java.lang.foreign.ValueLayout;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.Charset;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.Assumptions;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;
import org.panamoe.tensor.DType;
import org.panamoe.tensor.Tensor;

class SafetensorsTest {
    @TempDir
    Path folder;

    /** Every alignment of the data: a header padded to each length, and a byte tensor before the floats. */
    @ParameterizedTest
    @ValueSource(ints = {0, 1, 2, 3, 4, 5, 6, 7})
    void readsAtAnyAlignment(int shift) throws IOException {
        float[] values = {1.5f, -2, Float.MIN_VALUE, Float.NaN, 1e30f};
        var data = ByteBuffer.allocate(shift + 20).order(ByteOrder.LITTLE_ENDIAN);
        data.position(shift);
        for (float value : values) data.putFloat(value);
        Path file = file("""
                {"b": {"dtype": "U8", "shape": [%1$d], "data_offsets": [0, %1$d]},
                 "f": {"dtype": "F32", "shape": [5, 1], "data_offsets": [%1$d, %2$d]}}""".formatted(shift, shift + 20), data.array());
        try (var arena = Arena.ofConfined()) {
            var tensor = Safetensors.map(file, arena).tensor("f");
            assertThat(tensor).hasToString("F32[5, 1]");
            float[] read = new float[5];
            tensor.getFloats(0, read);
            assertThat(read).isEqualTo(values);
            for (int i = 0; i < 5; i++) assertThat(tensor.getFloat(i)).isEqualTo(Float.valueOf(values[i]));
        }
    }

    @ParameterizedTest
    @CsvSource(delimiter = '|', quoteCharacter = '\'', textBlock = """
            '"data_offsets": [4, 12]'  | '"data_offsets": [100, 90]'  | b: data_offsets [100, 90]: the end is before
            '"data_offsets": [4, 12]'  | '"data_offsets": [4, 13]'    | b: data_offsets [4, 13], but the file has 12 bytes
            '"data_offsets": [4, 12]'  | '"data_offsets": [0, 8]'     | b: data_offsets [0, 8] overlap a, which ends at 4
            '"data_offsets": [4, 12]'  | '"data_offsets": [4, 8]'     | b: data_offsets [4, 8] are 4 bytes, but F32[2] takes 8
            '"data_offsets": [4, 12]'  | '"data_offsets": [4]'        | b: data_offsets [4] are not two numbers
            '"data_offsets": [4, 12]'  | '"data_offsets": [-4, 4]'    | b: data_offsets: -4 is not a size
            '"data_offsets": [4, 12]'  | '"data_offsets": [4.0, 12]'  | b: data_offsets: 4.0 is not a size
            '"data_offsets": [4, 12]'  | '"data_offsets": [4, 99999999999999999999]' | 99999999999999999999 is not a size
            '"data_offsets": [4, 12]'  | '"data_offsets": "4, 12"'    | b: data_offsets: 4, 12 where START_ARRAY
            ', "data_offsets": [4, 12]'| ''                           | b: data_offsets are missing
            '"shape": [2]'             | '"shape": [3]'               | b: data_offsets [4, 12] are 8 bytes, but F32[3] takes 12
            '"shape": [2]'             | '"shape": [4294967296, 4294967296]' | b: F32[4294967296, 4294967296] is too large
            '"shape": [2]'             | '"shape": [1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,2]' | b: shape: has more than 16
            '"shape": [2]'             | '"shape": [[2]]'             | b: shape: [ is not a size
            '"shape": [2]'             | '"shape": null'              | b: shape: null where START_ARRAY
            '"dtype": "F32", "shape": [2]' | '"shape": [2]'           | b: dtype is missing
            '"dtype": "F32", "shape": [2]' | '"dtype": 7, "shape": [2]' | b: dtype: 7 where VALUE_STRING
            '"b":'                     | '"a":'                       | a: is named twice
            '"b": {'                   | '"b": 3, "c": {'             | b: 3 where START_OBJECT
            '{"k": "v"}'               | '{"k": 1}'                   | __metadata__: k: 1 where VALUE_STRING
            '{"k": "v"}'               | '{"k": "v", "k": "w"}'       | __metadata__: k: is named twice
            '{"k": "v"},'              | '{"k": "v"}, "__metadata__": {},' | __metadata__: is named twice
            '"a": {"dtype": "U8", "shape": [4], "data_offsets": [0, 4]},' | '' | b: data_offsets [4, 12] leave a hole after the header
            ', "b": {'                 | ', "b": {{'                  | x.safetensors, line 1
            '[4, 12]}}'                | '[4, 12]}} x'                | x.safetensors, line 1
            '[4, 12]}}'                | '[4, 12]}} {}'               | something follows the header
            '[4, 12]}}'                | '[4, 12]}'                   | x.safetensors, line 1
            """)
    void refusesABrokenHeader(String from, String to, String message) throws IOException {
        String sound = """
                {"__metadata__": {"k": "v"}, "a": {"dtype": "U8", "shape": [4], "data_offsets": [0, 4]}, \
                "b": {"dtype": "F32", "shape": [2], "data_offsets": [4, 12]}}""";
        try (var arena = Arena.ofConfined()) {
            var read = Safetensors.map(file(sound, new byte[12]), arena);
            assertThat(read.names()).containsExactly("a", "b");
            assertThat(read.metadata()).isEqualTo(Map.of("k", "v"));
            assertThat(sound).contains(from);
            Path broken = file(sound.replace(from, to), new byte[12]);
            assertThatThrownBy(() -> Safetensors.map(broken, arena))
                    .isInstanceOf(CheckpointException.class)
                    .hasMessageStartingWith("x.safetensors")
                    .hasMessageContaining(message);
        }
    }

    @ParameterizedTest
    @CsvSource({
        "0,  0, 'header length 0'",
        "3,  0, 'header length 3, but 2 bytes follow it'",
        "-1, 0, 'header length 18446744073709551615, but 2 bytes'",
        "9223372036854775807, 0, 'header length 9223372036854775807, but'",
        "200000000, 200000000, 'more than the 100000000 allowed'",
    })
    void refusesABrokenLength(long length, long more, String message) throws IOException {
        Path file = folder.resolve("x.safetensors");
        var bytes = ByteBuffer.allocate(10)
                .order(ByteOrder.LITTLE_ENDIAN)
                .putLong(length)
                .put((byte) '{')
                .put((byte) '}');
        Files.write(file, bytes.array());
        if (more > 0)
            try (var channel = Files.newByteChannel(file, java.nio.file.StandardOpenOption.WRITE)) {
                channel.position(more + 7).write(ByteBuffer.allocate(1)); // sparse
            }
        try (var arena = Arena.ofConfined()) {
            String expected = length == 0 ? "the header: the end where START_OBJECT" : message;
            assertThatThrownBy(() -> Safetensors.map(file, arena))
                    .isInstanceOf(CheckpointException.class)
                    .hasMessageContaining(expected);
        }
    }

    /** The format is UTF-8, whatever a JSON parser might guess. */
    @Test
    void refusesAnotherEncoding() throws IOException {
        String header = "{\"a\": {\"dtype\": \"U8\", \"shape\": [1], \"data_offsets\": [0, 1]}}";
        var encodings = List.of(
                StandardCharsets.UTF_16BE.encode(header),
                StandardCharsets.UTF_16LE.encode(header),
                Charset.forName("UTF-32").encode(header));
        try (var arena = Arena.ofConfined()) {
            for (var encoded : encodings) {
                byte[] json = new byte[encoded.remaining()];
                encoded.get(json);
                assertThatThrownBy(() -> Safetensors.map(file(json, new byte[1]), arena))
                        .isInstanceOf(CheckpointException.class)
                        .hasMessageStartingWith("x.safetensors, line 1");
            }
            // "a" as a surrogate that is encoded alone, and in more bytes than it takes.
            for (String name : List.of("\u00ed\u00a0\u0080", "\u00c1\u00a1", "\u00ff"))
                assertThatThrownBy(() -> Safetensors.map(
                                file(
                                        header.replace("a\"", name + '"').getBytes(StandardCharsets.ISO_8859_1),
                                        new byte[1]),
                                arena))
                        .isInstanceOf(CheckpointException.class)
                        .hasMessage("x.safetensors: its JSON is not UTF-8");
        }
    }

    @Test
    void refusesWhatIsNoFile() throws IOException {
        Path shortFile = Files.write(folder.resolve("short"), new byte[7]);
        try (var arena = Arena.ofConfined()) {
            assertThatThrownBy(() -> Safetensors.map(shortFile, arena))
                    .hasMessage("short: 7 bytes, but a header length takes 8");
            assertThatThrownBy(() -> Safetensors.map(folder, arena)).hasMessageEndingWith(": not a file");
            assertThatThrownBy(() -> Safetensors.map(folder.resolve("none"), arena))
                    .hasMessageEndingWith(": does not exist");
            assertThatThrownBy(() -> Safetensors.map(file("[".repeat(100_000), new byte[0]), arena))
                    .isInstanceOf(CheckpointException.class);
            assertThatThrownBy(() -> Safetensors.map(file("{\"a\":{\"x\":" + "[".repeat(100_000), new byte[0]), arena))
                    .isInstanceOf(CheckpointException.class)
                    .hasMessageContaining("nesting depth");
        }
    }

    @Test
    void anUnknownTypeIsAnErrorOnlyWhenAskedFor() throws IOException {
        Path file = file("""
                {"d": {"dtype": "F64", "shape": [1], "data_offsets": [0, 8]},
                 "i": {"dtype": "I32", "shape": [1], "data_offsets": [8, 12]}}""", new byte[12]);
        try (var arena = Arena.ofConfined()) {
            var read = Safetensors.map(file, arena);
            assertThat(read.tensor("i").getInt(0)).isZero();
            assertThatThrownBy(() -> read.tensor("d"))
                    .hasMessageStartingWith("x.safetensors: d: dtype F64 is not supported");
            assertThatThrownBy(() -> read.tensor("e")).hasMessage("x.safetensors: e: no such tensor");
        }
    }

    @Test
    void readsAndWritesTheSame() throws IOException {
        Path file = folder.resolve("round.safetensors");
        try (var arena = Arena.ofConfined()) {
            var tensors = new LinkedHashMap<String, Tensor>();
            for (DType dtype : DType.values()) {
                var tensor = Tensor.allocate(arena, dtype, 3, 5);
                for (long i = 0; i < tensor.bytes(); i++)
                    tensor.data.set(ValueLayout.JAVA_BYTE, i, (byte) (i * 31 + 7));
                tensors.put("ä \"" + dtype, tensor);
            }
            tensors.put("empty", Tensor.allocate(arena, DType.F32, 0, 7));
            tensors.put("scalar", Tensor.allocate(arena, DType.F32));
            SafetensorsWriter.write(file, tensors, Map.of("model", "a\nb"));
            SafetensorsWriter.write(file, tensors, Map.of("model", "a\nb")); // replaces
            var read = Safetensors.map(file, arena);
            assertThat(read.metadata()).isEqualTo(Map.of("model", "a\nb"));
            assertThat(read.names()).containsExactlyInAnyOrderElementsOf(tensors.keySet());
            tensors.forEach((name, tensor) -> {
                var again = read.tensor(name);
                assertThat(again).hasToString(tensor.toString());
                assertThat(again.data.mismatch(tensor.data)).isEqualTo(-1);
                assertThat(again.data.address() % again.dtype.bytes).isZero();
            });
        }
        assertThat(folderList()).containsExactly("round.safetensors");
    }

    @Test
    void anUnfinishedFileNeverAppears() throws IOException {
        Path file = folder.resolve("x.safetensors");
        Files.writeString(file, "before");
        try (var arena = Arena.ofConfined()) {
            var plan = new SafetensorsWriter.Plan().add("a", DType.F32, 2).add("b", DType.F32, 1);
            try (var writer = SafetensorsWriter.create(file, plan)) {
                writer.write("b", Tensor.of(arena, 1f));
                assertThatThrownBy(() -> writer.write("b", Tensor.of(arena, 1f)))
                        .hasMessage("b: not planned, or written already");
                assertThatThrownBy(() -> writer.write("a", Tensor.of(arena, 1f)))
                        .hasMessage("a: F32[1] was planned with 8 bytes of F32");
                assertThatThrownBy(writer::commit)
                        .hasMessageContaining("1 planned tensors were not written, a among them");
            }
            assertThat(file).hasContent("before");
            assertThat(folderList()).containsExactly("x.safetensors");
            // One plan serves twice.
            for (int i = 0; i < 2; i++)
                try (var writer = SafetensorsWriter.create(file, plan)) {
                    writer.write("b", Tensor.of(arena, 5f));
                    writer.write("a", Tensor.of(arena, 3f, 4f));
                    writer.commit();
                }
            assertThat(Safetensors.map(file, arena).tensor("a").getFloat(1)).isEqualTo(4);
            assertThat(Safetensors.map(file, arena).tensor("b").getFloat(0)).isEqualTo(5);
        }
    }

    @Test
    void whatIsTooLargeLeavesNothing() throws IOException {
        Path file = folder.resolve("x.safetensors");
        var plan = new SafetensorsWriter.Plan().add("a", DType.F32, 1L << 60).add("b", DType.F32, 1L << 60);
        for (int i = 0; i < 2; i++)
            assertThatThrownBy(() -> SafetensorsWriter.create(file, plan))
                    .isExactlyInstanceOf(IllegalArgumentException.class)
                    .hasMessage("b: %d bytes behind %1$d others are too many for a file", 1L << 62);
        assertThat(folderList()).isEmpty();
        assertThatThrownBy(() -> new SafetensorsWriter.Plan().add("a", DType.F32, -3))
                .hasMessage("F32[-3] has a negative size");
        assertThatThrownBy(() -> new SafetensorsWriter.Plan().add("a", DType.F32, 1L << 61))
                .hasMessage("F32[%d] is too large", 1L << 61);
    }

    /** Who is killed leaves a temporary file; another process may get his number. */
    @Test
    void aLeftoverDoesNotBlock() throws IOException {
        Path file = folder.resolve("x.safetensors");
        long pid = ProcessHandle.current().pid();
        Files.writeString(folder.resolve(".x.safetensors." + pid + ".tmp"), "left over");
        SafetensorsWriter.write(file, Map.of(), Map.of());
        var plan = new SafetensorsWriter.Plan();
        try (var one = SafetensorsWriter.create(file, plan);
                var other = SafetensorsWriter.create(file, plan)) {
            one.commit();
            other.commit();
        }
        assertThat(file).exists();
    }

    /** The file behind a link is replaced; the link stays. */
    @Test
    void writesThroughALink() throws IOException {
        Path link = folder.resolve("link"), real = folder.resolve("real.safetensors");
        Files.writeString(real, "something else");
        Files.createSymbolicLink(link, real);
        try (var arena = Arena.ofConfined()) {
            SafetensorsWriter.write(link, Map.of("a", Tensor.of(arena, 1f)), Map.of());
            assertThat(link).isSymbolicLink();
            assertThat(Safetensors.map(real, arena).tensor("a").getFloat(0)).isEqualTo(1);
        }
        try (var left = Files.list(folder)) {
            assertThat(left).hasSize(2);
        }
    }

    @Test
    void aFullDiskIsOneError() {
        Path full = Path.of("/dev/full");
        Assumptions.assumeTrue(Files.isWritable(full), "/dev/full is absent");
        try (var arena = Arena.ofConfined()) {
            var tensor = Tensor.of(arena, 1f, 2f);
            assertThatIOException()
                    .isThrownBy(() -> SafetensorsWriter.write(full, Map.of("a", tensor), Map.of()))
                    .withMessage("/dev/full: cannot be written: No space left on device");
        }
        assertThat(Files.isRegularFile(full)).isFalse();
        assertThatIOException()
                .isThrownBy(() -> SafetensorsWriter.write(folder.resolve("no/where"), Map.of(), Map.of()))
                .withMessageStartingWith(folder + "/no/where: cannot be written: ");
    }

    private List<String> folderList() throws IOException {
        try (var files = Files.list(folder)) {
            return files.map(f -> f.getFileName().toString()).sorted().toList();
        }
    }

    private Path file(String header, byte[] data) throws IOException {
        return file(header.getBytes(StandardCharsets.UTF_8), data);
    }

    private Path file(byte[] json, byte[] data) throws IOException {
        var bytes = ByteBuffer.allocate(8 + json.length + data.length).order(ByteOrder.LITTLE_ENDIAN);
        return Files.write(
                folder.resolve("x.safetensors"),
                bytes.putLong(json.length).put(json).put(data).array());
    }
}
