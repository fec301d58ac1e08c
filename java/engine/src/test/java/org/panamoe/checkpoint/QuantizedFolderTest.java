package org.panamoe.checkpoint;

import static java.lang.foreign.ValueLayout.JAVA_BYTE;
import static java.util.Objects.requireNonNull;
import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.io.IOException;
import java.lang.foreign.Arena;
import java.nio.file.DirectoryNotEmptyException;
import java.nio.file.Files;
import java.nio.file.NotDirectoryException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Collections;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.BrokenBarrierException;
import java.util.concurrent.CyclicBarrier;
import java.util.function.BiConsumer;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;
import org.panamoe.tensor.DType;
import org.panamoe.tensor.QuantFormat;
import org.panamoe.tensor.Tensor;

final class QuantizedFolderTest {
    private static final String QUERY = "model.layers.0.self_attn.q_a_proj.weight", HEAD = "lm_head.weight";

    @TempDir
    private Path folder;

    private Path stored;

    @BeforeEach
    void write() throws IOException {
        stored = Files.createDirectory(folder.resolve("stored"));
        Micro.write(stored);
    }

    /** Made at load, or written and mapped: the same codes and scales. */
    @ParameterizedTest
    @EnumSource(names = {"INT8", "INT4"})
    void writesWhatIsMadeAtLoad(QuantFormat format) throws IOException {
        var names = Collections.synchronizedList(new ArrayList<String>()); // told by several threads
        var written = quantized(format);
        try (var from = Checkpoint.open(stored);
                var made = from.quantized(format, 2, names::add);
                var mapped = Checkpoint.open(written)) {
            assertThat(mapped.config()).isEqualTo(made.config());
            int projections = 0;
            for (var spec : TensorSpec.of(made.config())) {
                if (!made.has(spec.name())) continue;
                var expected = made.weight(spec.name());
                var actual = mapped.weight(spec.name());
                assertThat(actual.format()).isEqualTo(expected.format());
                assertThat(actual.data().data.mismatch(expected.data().data))
                        .as(spec.name())
                        .isEqualTo(-1);
                var quantized = spec.quantized(format);
                assertThat(actual.format() == QuantFormat.INT8 || actual.format() == QuantFormat.INT4)
                        .isEqualTo(quantized != null);
                if (quantized == null) continue;
                projections++;
                assertThat(actual.format()).isEqualTo(quantized);
                assertThat(requireNonNull(actual.scale()).data.mismatch(requireNonNull(expected.scale()).data))
                        .as(spec.name())
                        .isEqualTo(-1);
            }
            assertThat(names).hasSize(projections);
            // The stored weights are still in use; once the new checkpoint is closed they are not.
            assertThatThrownBy(from::close).isInstanceOf(IllegalStateException.class);
        }
    }

    @Test
    void refusesIntegersAndWhatNoIntegerStandsFor() throws IOException {
        try (var mapped = Checkpoint.open(quantized(QuantFormat.INT4))) {
            assertThatThrownBy(() -> mapped.quantized(QuantFormat.INT8, 1, _ -> {}))
                    .hasMessageContaining("the weights are INT4 already");
        }
        try (var arena = Arena.ofConfined()) {
            var tensors = Micro.tensors(arena, ModelConfig.parse(stored), 1);
            var scale = tensors.get(QUERY + "_scale_inv");
            if (scale == null) throw new AssertionError("the micro model is not FP8");
            requireNonNull(tensors.get(QUERY)).data.set(JAVA_BYTE, 5, (byte) 0x7f); // NaN
            Path broken = Files.createDirectory(folder.resolve("nan"));
            Files.copy(stored.resolve("config.json"), broken.resolve("config.json"));
            Micro.write(broken, tensors);
            try (var from = Checkpoint.open(broken)) {
                assertThatThrownBy(() -> from.quantized(QuantFormat.INT8, 2, _ -> {}))
                        .isInstanceOf(CheckpointException.class)
                        .hasMessageContaining(QUERY + ": there is a NaN or an infinity");
                Path to = folder.resolve("out");
                assertThatThrownBy(() -> QuantizedFolder.write(from, broken, QuantFormat.INT8, to, 2, _ -> {}))
                        .hasMessageContaining(QUERY);
                assertThat(to).doesNotExist();
            } // nothing holds it
        }
    }

    @Test
    void refusesAFolderThatHoldsSomethingAndAFile() throws IOException {
        try (var from = Checkpoint.open(stored)) {
            assertThatThrownBy(() -> QuantizedFolder.write(from, stored, QuantFormat.INT8, stored, 1, _ -> {}))
                    .isInstanceOf(DirectoryNotEmptyException.class);
            assertThat(QuantizedFolder.interrupted(stored)).isFalse();
            var file = stored.resolve("config.json");
            assertThatThrownBy(() -> QuantizedFolder.write(from, stored, QuantFormat.INT8, file, 1, _ -> {}))
                    .isInstanceOf(NotDirectoryException.class);
        }
    }

    /** The last thing that can go wrong, when the weights are written. */
    @Test
    void leavesTheFolderAsItWas() throws IOException {
        try (var from = Checkpoint.open(stored)) {
            Files.writeString(stored.resolve("LICENSE"), "free");
            Files.writeString(stored.resolve("config.json"), "[]");
            Path to = folder.resolve("out"), empty = Files.createDirectory(folder.resolve("empty"));
            for (var target : List.of(to, empty))
                assertThatThrownBy(() -> QuantizedFolder.write(from, stored, QuantFormat.INT8, target, 1, _ -> {}))
                        .hasMessageContaining("not a JSON object");
            assertThat(to).doesNotExist();
            assertThat(empty).isEmptyDirectory();
        }
    }

    /** Whoever comes while another is at work is refused, even in the same moment. */
    @Test
    void isOfOneFormatWhereTwoBeginTogether() throws IOException, InterruptedException {
        try (var from = Checkpoint.open(stored)) {
            for (int round = 0; round < 40; round++) {
                Path to = folder.resolve("out" + round);
                var begin = new CyclicBarrier(2);
                var written = Collections.synchronizedList(new ArrayList<QuantFormat>());
                var threads = new ArrayList<Thread>();
                for (var format : List.of(QuantFormat.INT8, QuantFormat.INT4))
                    threads.add(Thread.ofPlatform().start(() -> {
                        try {
                            begin.await();
                            QuantizedFolder.write(from, stored, format, to, 1, _ -> {});
                            written.add(format);
                        } catch (IOException | InterruptedException | BrokenBarrierException e) {
                            // refused
                        }
                    }));
                for (var thread : threads) thread.join();
                assertThat(written).hasSizeLessThan(2);
                if (!written.isEmpty()) // where each saw the other one, nothing is there
                try (var made = Checkpoint.open(to)) {
                        assertThat(made.weight(QUERY).format()).isEqualTo(written.getFirst());
                    }
            }
        }
    }

    @Test
    void fillsAnEmptyFolder() throws IOException {
        Files.writeString(stored.resolve("LICENSE"), "free");
        Path empty = Files.createDirectory(folder.resolve("empty"));
        try (var from = Checkpoint.open(stored)) {
            QuantizedFolder.write(from, stored, QuantFormat.INT8, empty, 1, _ -> {});
        }
        try (var files = Files.list(empty)) {
            assertThat(files.map(Json::fileName))
                    .containsExactlyInAnyOrder("config.json", "LICENSE", "model.safetensors");
        }
        Checkpoint.open(empty).close();
    }

    @Test
    void refusesFoldersThatAreNotAsTheConfigSays() throws IOException {
        String scale = QUERY + "_scale";
        refuses(scale + ": missing", (arena, tensors) -> tensors.remove(scale));
        refuses(
                scale + ": shape [1, 1]",
                (arena, tensors) -> tensors.put(scale, Tensor.allocate(arena, DType.BF16, 1, 1)));
        try (var sound = Checkpoint.open(quantized(QuantFormat.INT4))) {
            assertThat(requireNonNull(sound.weight(QUERY).scale()).dtype).isEqualTo(DType.BF16);
            int F = sound.weight(QUERY).data().dim(0);
            refuses(
                    scale + ": is F32[%d, 1], scales are BF16".formatted(F),
                    (arena, tensors) -> tensors.put(scale, Tensor.allocate(arena, DType.F32, F, 1)));
        }
        refuses(QUERY + ": is I8", (arena, tensors) -> {
            var old = requireNonNull(tensors.get(QUERY));
            tensors.put(QUERY, Tensor.allocate(arena, DType.I8, old.dim(0), 2L * old.dim(1)));
        });
        refuses(HEAD + ": is U8", (arena, tensors) -> {
            var old = requireNonNull(tensors.get(HEAD));
            tensors.put(HEAD, Tensor.allocate(arena, DType.U8, old.dim(0), old.dim(1)));
        });
    }

    private void refuses(String message, BiConsumer<Arena, Map<String, Tensor>> damage) throws IOException {
        Path sound = quantized(QuantFormat.INT4), broken = Files.createTempDirectory(folder, "broken");
        Files.copy(sound.resolve("config.json"), broken.resolve("config.json"));
        try (var arena = Arena.ofShared()) {
            var file = Safetensors.map(sound.resolve("model.safetensors"), arena);
            var tensors = new LinkedHashMap<String, Tensor>();
            for (String name : file.names()) tensors.put(name, file.tensor(name));
            damage.accept(arena, tensors);
            SafetensorsWriter.write(broken.resolve("model.safetensors"), tensors, Map.of());
        }
        assertThatThrownBy(() -> Checkpoint.open(broken))
                .isInstanceOf(CheckpointException.class)
                .hasMessageContaining(message);
    }

    private Path quantized(QuantFormat format) throws IOException {
        Path to = folder.resolve(format.name());
        if (!Files.exists(to))
            try (var from = Checkpoint.open(stored)) {
                QuantizedFolder.write(from, stored, format, to, 2, _ -> {});
            }
        return to;
    }
}
