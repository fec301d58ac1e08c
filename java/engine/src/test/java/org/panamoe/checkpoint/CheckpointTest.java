package org.panamoe.checkpoint;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.fail;

import java.io.IOException;
import java.lang.foreign.Arena;
import java.lang.foreign.ValueLayout;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.attribute.PosixFilePermissions;
import java.util.Arrays;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.function.BiConsumer;
import org.junit.jupiter.api.Assumptions;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;
import org.panamoe.tensor.DType;
import org.panamoe.tensor.QuantFormat;
import org.panamoe.tensor.Tensor;
import org.panamoe.tensor.Weight;

class CheckpointTest {
    private static final String EXPERT = "model.layers.1.mlp.experts.3.up_proj.weight";
    private static final String BIAS = "model.layers.1.mlp.gate.e_score_correction_bias";

    @TempDir
    Path folder;

    private Path sound;

    @BeforeEach
    void writeSoundCheckpoint() throws IOException {
        sound = Files.createDirectory(folder.resolve("sound"));
        Micro.write(sound);
    }

    @ParameterizedTest
    @ValueSource(
            strings = {"v3-tiny-fp32", "v3-tiny-fp8", "v3-tiny-mtp", "v3-tiny-yarn", "v2-lite-tiny", "v2-group-tiny"})
    void opensEveryGolden(String variant) {
        try (var checkpoint = Checkpoint.open(Golden.folder(variant))) {
            assertThat(readAll(checkpoint)).isEqualTo(checkpoint.bytes());
        }
    }

    @ParameterizedTest
    @ValueSource(strings = {"golden/v3-tiny-bf16", "models/tiny-v3"})
    void opensWhatLiesBeside(String path) {
        try (var checkpoint = Checkpoint.open(Golden.shared(path))) {
            assertThat(readAll(checkpoint)).isEqualTo(checkpoint.bytes());
        }
    }

    @Test
    void givesWeightsAsTheyAreStored() {
        try (var checkpoint = Checkpoint.open(sound)) {
            var expert = checkpoint.weight(EXPERT, 8, 16);
            assertThat(expert.format()).isEqualTo(QuantFormat.F8_E4M3_B128);
            assertThat(expert.scale()).hasToString("F32[1, 1]");
            assertThat(checkpoint.weight("model.norm.weight", 16).format()).isEqualTo(QuantFormat.BF16);
            assertThat(checkpoint.tensor(BIAS, 4)).hasToString("F32[4]");
            assertThat(checkpoint.has(BIAS)).isTrue();
            assertThat(checkpoint.has("model.layers.0.mlp.gate.weight")).isFalse();
            assertThatThrownBy(() -> checkpoint.weight(EXPERT, 16, 8))
                    .isInstanceOf(CheckpointException.class)
                    .hasMessageContaining(EXPERT + ": is F8_E4M3_B128[8, 16], not [16, 8]");
            assertThatThrownBy(() -> checkpoint.weight("model.nothing"))
                    .isInstanceOf(CheckpointException.class)
                    .hasMessageContaining("model.nothing: no such tensor");
            assertThatThrownBy(() -> checkpoint.tensor(EXPERT, 8, 16))
                    .isInstanceOf(CheckpointException.class)
                    .hasMessageContaining("has block scales");
        }
    }

    @Test
    void afterClosingEverythingThrows() {
        var checkpoint = Checkpoint.open(sound);
        var bias = checkpoint.tensor(BIAS, 4);
        assertThat(bias.getFloat(0)).isBetween(0f, 1f);
        checkpoint.close();
        checkpoint.close();
        assertThatThrownBy(() -> bias.getFloat(0)).isInstanceOf(IllegalStateException.class);
    }

    @Test
    void holdsWeightsOfTheCaller() {
        var config = ModelConfig.parse(sound);
        try (var arena = Arena.ofConfined()) {
            var tensors = Micro.tensors(arena, config, 3);
            var weights = new HashMap<String, Weight>();
            tensors.forEach((name, tensor) -> {
                if (name.endsWith("_scale_inv")) return;
                Tensor scale = tensors.get(name + "_scale_inv");
                weights.put(
                        name, scale == null ? Weight.of(tensor) : new Weight(QuantFormat.F8_E4M3_B128, tensor, scale));
            });
            var checkpoint = Checkpoint.of(config, weights);
            checkpoint.close();
            assertThat(checkpoint.weight(EXPERT, 8, 16)).isSameAs(weights.get(EXPERT));
            assertThat(readAll(checkpoint)).isEqualTo(checkpoint.bytes());

            weights.put(EXPERT, Weight.of(Tensor.allocate(arena, DType.F32, 8, 16)));
            assertThatThrownBy(() -> Checkpoint.of(config, weights))
                    .isInstanceOf(CheckpointException.class)
                    .hasMessageContaining(
                            EXPERT + ": is F32[8, 16], but model.layers.1.mlp.experts.0.up_proj.weight is F8");
            weights.remove(EXPERT);
            assertThatThrownBy(() -> Checkpoint.of(config, weights))
                    .isInstanceOf(CheckpointException.class)
                    .hasMessageContaining(EXPERT + " [8, 16]: missing, the first of 1 missing");
        }
    }

    @Test
    void mtpCopiesMayBeAbsent() throws IOException {
        rewrite((arena, tensors) -> {
            assertThat(tensors.remove("model.layers.2.embed_tokens.weight")).isNotNull();
            assertThat(tensors.remove("model.layers.2.shared_head.head.weight")).isNotNull();
        });
        try (var checkpoint = Checkpoint.open(sound)) {
            assertThat(checkpoint.has("model.layers.2.embed_tokens.weight")).isFalse();
        }
    }

    /** As Hugging Face's tools write a checkpoint; half a module is an error. */
    @Test
    void theWholeMtpModuleMayBeAbsent() throws IOException {
        rewrite((arena, tensors) -> tensors.keySet().removeIf(name -> name.startsWith("model.layers.2.")));
        try (var checkpoint = Checkpoint.open(sound)) {
            assertThat(checkpoint.config().numNextnPredictLayers()).isZero();
            assertThat(checkpoint.config()).isEqualTo(ModelConfig.parse(sound).withoutMtp());
            assertThat(readAll(checkpoint)).isEqualTo(checkpoint.bytes());
        }
        refuses(
                "model.layers.2.self_attn.q_a_proj.weight [8, 16]: missing",
                (arena, tensors) -> tensors.keySet().removeIf(name -> name.startsWith("model.layers.2.self_attn")));
    }

    @Test
    void projectionsMayStayUnquantised() throws IOException {
        String name = "model.layers.0.self_attn.kv_b_proj.weight";
        rewrite((arena, tensors) -> {
            tensors.put(name, Tensor.allocate(arena, DType.BF16, 16, 8));
            tensors.remove(name + "_scale_inv");
        });
        try (var checkpoint = Checkpoint.open(sound)) {
            assertThat(checkpoint.weight(name, 16, 8).format()).isEqualTo(QuantFormat.BF16);
        }
    }

    /** Gate, up and down are three products: only the experts of each have one format. */
    @Test
    void oneMatrixOfAllExpertsMayStayUnquantised() throws IOException {
        rewrite((arena, tensors) -> {
            for (int layer = 1; layer <= 2; layer++)
                for (int e = 0; e < 4; e++) {
                    String name = "model.layers." + layer + ".mlp.experts." + e + ".down_proj.weight";
                    tensors.put(name, Tensor.allocate(arena, DType.BF16, 16, 8));
                    tensors.remove(name + "_scale_inv");
                }
        });
        try (var checkpoint = Checkpoint.open(sound)) {
            assertThat(checkpoint
                            .weight("model.layers.1.mlp.experts.3.down_proj.weight", 16, 8)
                            .format())
                    .isEqualTo(QuantFormat.BF16);
            assertThat(checkpoint.weight(EXPERT, 8, 16).format()).isEqualTo(QuantFormat.F8_E4M3_B128);
        }
    }

    /** Some tools store the head of a tied model all the same; but its bias would be another model's. */
    @Test
    void aTiedHeadIsIgnored() throws IOException {
        String config = Files.readString(sound.resolve("config.json"));
        Files.writeString(
                sound.resolve("config.json"),
                config.replace("\"bos_token_id\"", "\"tie_word_embeddings\": true, \"bos_token_id\""));
        rewrite((arena, tensors) -> tensors.put("lm_head.weight", Tensor.allocate(arena, DType.BF16, 32, 16)));
        try (var checkpoint = Checkpoint.open(sound)) {
            assertThat(checkpoint.has("lm_head.weight")).isFalse();
        }
        refuses(
                "lm_head.bias: a tensor that this config does not ask for",
                (arena, tensors) -> tensors.put("lm_head.bias", Tensor.allocate(arena, DType.BF16, 32)));
    }

    /** An MTP module that the config does not count is left aside. */
    @Test
    void aFurtherMtpModuleIsIgnored() throws IOException {
        rewrite((arena, tensors) -> {
            tensors.put("model.layers.7.eh_proj.weight", Tensor.allocate(arena, DType.BF16, 16, 32));
            tensors.put("model.layers.7.input_layernorm.weight", Tensor.allocate(arena, DType.BF16, 16));
        });
        Checkpoint.open(sound).close();
    }

    @Test
    void shardsMayBeLinks() throws IOException {
        Path blob = Files.move(sound.resolve("model-00001-of-00002.safetensors"), folder.resolve("blob"));
        Files.createSymbolicLink(sound.resolve("model-00001-of-00002.safetensors"), blob);
        Checkpoint.open(sound).close();
    }

    @Test
    void refusesWrongTensors() throws IOException {
        String norm = "model.layers.0.input_layernorm.weight", scale = EXPERT + "_scale_inv";
        refuses(
                EXPERT + " [8, 16]: missing, the first of 1 missing tensors (",
                (arena, tensors) -> tensors.remove(EXPERT));
        refuses(
                "model.layers.0.input_layernorm.weight [16]: missing, the first of 2 missing",
                (arena, tensors) -> tensors.keySet().removeAll(List.of(norm, "lm_head.weight")));
        refuses(scale + ": missing, but " + EXPERT + " is F8_E4M3[8, 16]", (arena, tensors) -> tensors.remove(scale));
        refuses(
                scale + ": shape [2, 1], but config.json asks for [1, 1]",
                (arena, tensors) -> tensors.put(scale, Tensor.allocate(arena, DType.F32, 2, 1)));
        refuses(
                scale + ": is BF16[1, 1], scales are F32",
                (arena, tensors) -> tensors.put(scale, Tensor.allocate(arena, DType.BF16, 1, 1)));
        refuses(
                EXPERT + ": shape [16, 8], but config.json asks for [8, 16]",
                (arena, tensors) -> tensors.put(EXPERT, Tensor.allocate(arena, DType.F8_E4M3, 16, 8)));
        for (DType dtype : new DType[] {DType.F16, DType.I32, DType.I64})
            refuses(
                    norm + ": dtype " + dtype + " is not a weight's",
                    (arena, tensors) -> tensors.put(norm, Tensor.allocate(arena, dtype, 16)));
        refuses(
                "lm_head.weight: is F8_E4M3_B128[32, 16], but beside projections in F8_E4M3_B128 it is not quantised",
                (arena, tensors) -> {
                    tensors.put("lm_head.weight", Tensor.allocate(arena, DType.F8_E4M3, 32, 16));
                    tensors.put("lm_head.weight_scale_inv", Tensor.of(arena, 1f).as(1, 1));
                });
        refuses(norm + ": is F8_E4M3[16], but blocks need a matrix", (arena, tensors) -> {
            tensors.put(norm, Tensor.allocate(arena, DType.F8_E4M3, 16));
            tensors.put(norm + "_scale_inv", Tensor.of(arena, 1f));
        });
        refuses(
                EXPERT + ": is BF16[8, 16], but model.layers.1.mlp.experts.0.up_proj.weight is F8_E4M3_B128[8, 16]",
                (arena, tensors) -> {
                    tensors.put(EXPERT, Tensor.allocate(arena, DType.BF16, 8, 16));
                    tensors.remove(scale);
                });
        refuses(
                scale + ": scales of a weight that is BF16[8, 16]",
                (arena, tensors) -> tensors.put(EXPERT, Tensor.allocate(arena, DType.BF16, 8, 16)));
        refuses(
                "model.layers.1.self_attn.indexer.wk.weight: a tensor that this config does not ask for",
                (arena, tensors) -> tensors.put(
                        "model.layers.1.self_attn.indexer.wk.weight", Tensor.allocate(arena, DType.BF16, 4, 4)));
        String beyond = "model.layers.7.input_layernorm.weight";
        refuses(
                beyond + ": a tensor that this config does not ask for",
                (arena, tensors) -> tensors.put(beyond, Tensor.allocate(arena, DType.BF16, 16)));
        for (String name : List.of("lm_head.bias", "model.norm.bias", "model.embed_tokens.bias"))
            refuses(
                    name + ": a tensor that this config does not ask for",
                    (arena, tensors) -> tensors.put(name, Tensor.allocate(arena, DType.BF16, 16)));
        refuses(
                "lm_head.weight_scale_inv: scales of a weight that is BF16[32, 16]",
                (arena, tensors) -> tensors.put(
                        "lm_head.weight_scale_inv", Tensor.of(arena, 1f).as(1, 1)));
    }

    @ParameterizedTest
    @CsvSource({"NaN, NaN", "Infinity, Infinity", "-1, -1.0"})
    void refusesAWrongScale(float value, String shown) throws IOException {
        rewrite((arena, tensors) ->
                tensors.put(EXPERT + "_scale_inv", Tensor.of(arena, value).as(1, 1)));
        try (var checkpoint = Checkpoint.open(sound)) {
            assertThatThrownBy(() -> checkpoint.weight(EXPERT, 8, 16))
                    .isInstanceOf(CheckpointException.class)
                    .hasMessageStartingWith("model-0000")
                    .hasMessageContaining(EXPERT + "_scale_inv: element 0 of F32[1, 1] is " + shown + ", not a finite");
        }
    }

    @Test
    void refusesFp8WithoutSayingSo() throws IOException {
        String config = Files.readString(sound.resolve("config.json"));
        Files.writeString(
                sound.resolve("config.json"), config.replace("\"quantization_config\"", "\"_quantization_config\""));
        assertRefused("q_a_proj.weight: is F8_E4M3_B128[8, 16], but config.json has no quantization_config");
    }

    @Test
    void refusesABrokenIndex() throws IOException {
        Path index = sound.resolve("model.safetensors.index.json");
        String text = Files.readString(index);
        String entry =
                "\"lm_head.weight\": \"" + text.replaceAll("(?s).*\"lm_head.weight\": \"([^\"]*)\".*", "$1") + "\"";
        assertThat(text).contains(entry);
        for (String[] edit : new String[][] {
            {"\"../sound/model-00001-of-00002.safetensors\"", "is not the name of a file in this folder"},
            {"\"/etc/passwd\"", "\"/etc/passwd\" is not the name of a file"},
            {"\"..\"", "\"..\" is not the name of a file"},
            {"\"\"", "\"\" is not the name of a file"},
            {"\"a\\u0000b\"", "\"a?b\" is not the name of a file"},
            {"7", "weight_map: lm_head.weight: is not a file's name"},
            {"\"config.json\"", "config.json: header length"},
            {"\"model-00003.safetensors\"", "model-00003.safetensors: does not exist"},
        }) {
            Files.writeString(index, text.replace(entry, "\"lm_head.weight\": " + edit[0]));
            assertRefused(edit[1]);
        }
        Files.writeString(index, text.replace(entry, entry + ", " + entry));
        assertRefused("model.safetensors.index.json: weight_map: lm_head.weight: is named twice");
        Files.writeString(index, text.replace("\"lm_head.weight\"", "\"lm_tail.weight\""));
        assertRefused("model.safetensors.index.json: lm_head.weight [32, 16]: missing, the first of 1 missing");
        Files.writeString(index, text.replace("00001-of", "00002-of"));
        assertRefused("model-00002-of-00002.safetensors has no such tensor");
        Files.writeString(index, text.replace("weight_map", "weights"));
        assertRefused("model.safetensors.index.json: weight_map: missing");
        Files.writeString(index, "[".repeat(100_000));
        assertRefused("model.safetensors.index.json");
        Files.writeString(index, "{\"x\": " + "[".repeat(100_000));
        assertRefused("nesting depth");
        Files.writeString(index, text + "}");
        assertRefused("model.safetensors.index.json, line");
    }

    @Test
    void refusesBrokenFolders() throws IOException {
        Path shard = sound.resolve("model-00002-of-00002.safetensors");
        byte[] bytes = Files.readAllBytes(shard);
        Files.write(shard, Arrays.copyOf(bytes, bytes.length - 1));
        assertRefused("model-00002-of-00002.safetensors: ");
        Files.delete(shard);
        assertRefused("model-00002-of-00002.safetensors: does not exist");
        Files.createDirectory(shard);
        assertRefused("model-00002-of-00002.safetensors: not a file");
        Files.delete(sound.resolve("model.safetensors.index.json"));
        assertRefused("has neither model.safetensors nor model.safetensors.index.json");
        Files.delete(sound.resolve("config.json"));
        assertRefused("has no config.json");
        sound = folder.resolve("none");
        assertRefused("does not exist");
        sound = Files.writeString(folder.resolve("file"), "{}");
        assertRefused("is not a folder");
    }

    @Test
    void refusesAnUnreadableFolder() throws IOException {
        Files.setPosixFilePermissions(sound, Set.of());
        try {
            Assumptions.assumeFalse(Files.isReadable(sound), "this user may read everything");
            assertRefused("sound: cannot be read: permission denied");
        } finally {
            Files.setPosixFilePermissions(sound, PosixFilePermissions.fromString("rwx------"));
        }
    }

    /** Whatever is broken, a checkpoint either opens, and all of it can be read, or is refused with a sentence. */
    @Test
    void mutationsOpenOrAreRefused() throws IOException {
        int seeds = Boolean.getBoolean("panamoe.full") ? 5000 : 300, opened = 0, refused = 0;
        Path copy = Files.createDirectory(folder.resolve("copy"));
        for (long seed = 0; seed < seeds; seed++) {
            String how = Micro.mutate(sound, copy, seed);
            try (var checkpoint = Checkpoint.open(copy)) {
                assertThat(readAll(checkpoint)).as(how).isEqualTo(checkpoint.bytes());
                opened++;
            } catch (CheckpointException e) {
                assertThat(e.getMessage()).as(how).matches("[^\\p{Cc}\\p{Cf}]+: [^\\p{Cc}\\p{Cf}]+");
                refused++;
            } catch (RuntimeException | Error e) {
                fail(how, e);
            }
        }
        // Both ends are met, else the mutations are too gentle or too rough to say anything.
        assertThat(opened).isGreaterThan(seeds / 20);
        assertThat(refused).isGreaterThan(seeds / 2);
    }

    private void refuses(String message, BiConsumer<Arena, Map<String, Tensor>> edit) throws IOException {
        rewrite(edit);
        assertRefused(message);
    }

    private void assertRefused(String message) {
        assertThatThrownBy(() -> Checkpoint.open(sound))
                .isInstanceOf(CheckpointException.class)
                .hasMessageContaining(message);
    }

    private void rewrite(BiConsumer<Arena, Map<String, Tensor>> edit) throws IOException {
        try (var arena = Arena.ofConfined()) {
            var tensors = Micro.tensors(arena, ModelConfig.parse(sound), 7);
            edit.accept(arena, tensors);
            Micro.write(sound, tensors);
        }
    }

    /** Touches every byte of every weight; how many there are. */
    private static long readAll(Checkpoint checkpoint) {
        long bytes = 0;
        for (var spec : TensorSpec.of(checkpoint.config())) {
            if (!checkpoint.has(spec.name())) continue;
            var weight = checkpoint.weight(
                    spec.name(), spec.shape().stream().mapToLong(i -> i).toArray());
            bytes += weight.data().data.toArray(ValueLayout.JAVA_BYTE).length;
            if (weight.scale() != null) bytes += weight.scale().data.toArray(ValueLayout.JAVA_BYTE).length;
        }
        return bytes;
    }
}
