package org.panamoe.checkpoint;

import static java.lang.foreign.ValueLayout.JAVA_BYTE;
import static java.lang.foreign.ValueLayout.JAVA_SHORT_UNALIGNED;

import java.io.IOException;
import java.lang.foreign.Arena;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.regex.Pattern;
import org.panamoe.tensor.DType;
import org.panamoe.tensor.Tensor;

/** A sound checkpoint of some 30 KB, made here: FP8, an MTP module, two shards; and seeded ways to break it. */
public final class Micro {
    public static final String CONFIG = """
            {
              "architectures": ["DeepseekV3ForCausalLM"],
              "model_type": "deepseek_v3",
              "vocab_size": 32,
              "hidden_size": 16,
              "intermediate_size": 24,
              "moe_intermediate_size": 8,
              "num_hidden_layers": 2,
              "num_nextn_predict_layers": 1,
              "first_k_dense_replace": 1,
              "moe_layer_freq": 1,
              "num_attention_heads": 2,
              "q_lora_rank": 8,
              "kv_lora_rank": 8,
              "qk_nope_head_dim": 4,
              "qk_rope_head_dim": 4,
              "v_head_dim": 4,
              "n_routed_experts": 4,
              "n_shared_experts": 1,
              "num_experts_per_tok": 2,
              "n_group": 2,
              "topk_group": 1,
              "scoring_func": "sigmoid",
              "topk_method": "noaux_tc",
              "norm_topk_prob": true,
              "routed_scaling_factor": 2.5,
              "hidden_act": "silu",
              "rms_norm_eps": 1e-06,
              "max_position_embeddings": 256,
              "rope_theta": 10000.0,
              "rope_scaling": {"type": "yarn", "factor": 4, "original_max_position_embeddings": 64},
              "bos_token_id": 0,
              "eos_token_id": 1,
              "quantization_config": {"quant_method": "fp8", "fmt": "e4m3", "weight_block_size": [128, 128]}
            }
            """;

    private static final String FIRST = "model-00001-of-00002.safetensors", SECOND = "model-00002-of-00002.safetensors";
    private static final String INDEX = "model.safetensors.index.json";
    private static final Pattern NUMBER = Pattern.compile("(?<=[\\s:\\[,])-?[0-9]+(\\.[0-9]+)?");
    private static final List<String> NUMBERS = List.of(
            "0",
            "-1",
            "1",
            "2",
            "3",
            "17",
            "2147483647",
            "2147483648",
            "-9223372036854775808",
            "1e400",
            "1e-60",
            "0.5",
            "null",
            "true",
            "\"1\"",
            "[1]",
            "{}",
            "NaN");

    private Micro() {}

    /** Random weights: codes and values of a moderate size, every one finite. */
    public static Map<String, Tensor> tensors(Arena arena, ModelConfig config, long seed) {
        var random = new Random(seed);
        var tensors = new LinkedHashMap<String, Tensor>();
        for (TensorSpec spec : TensorSpec.of(config)) {
            long[] shape = spec.shape().stream().mapToLong(i -> i).toArray();
            if (spec.projection() && config.quantizationConfig() != null) {
                var code = Tensor.allocate(arena, DType.F8_E4M3, shape);
                for (long i = 0; i < code.size(); i++)
                    code.data.set(JAVA_BYTE, i, (byte) (random.nextInt(0x7f) | (random.nextBoolean() ? 0x80 : 0)));
                var scale = Tensor.allocate(arena, DType.F32, Math.ceilDiv(shape[0], 128), Math.ceilDiv(shape[1], 128));
                for (long i = 0; i < scale.size(); i++) scale.setFloat(i, 0.001f + 0.01f * random.nextFloat());
                tensors.put(spec.name(), code);
                tensors.put(spec.name() + "_scale_inv", scale);
            } else if (spec.name().endsWith("_bias")) {
                var bias = Tensor.allocate(arena, DType.F32, shape);
                for (long i = 0; i < bias.size(); i++) bias.setFloat(i, random.nextFloat());
                tensors.put(spec.name(), bias);
            } else {
                var weight = Tensor.allocate(arena, DType.BF16, shape);
                for (long i = 0; i < weight.size(); i++)
                    weight.data.setAtIndex(JAVA_SHORT_UNALIGNED, i, (short)
                            (Float.floatToIntBits((float) random.nextGaussian()) >>> 16));
                tensors.put(spec.name(), weight);
            }
        }
        return tensors;
    }

    /** The sound checkpoint. */
    public static void write(Path folder) throws IOException {
        Files.writeString(folder.resolve("config.json"), CONFIG);
        try (var arena = Arena.ofConfined()) {
            write(folder, tensors(arena, ModelConfig.parse(folder), 7));
        }
    }

    /** Two shards and their index; every scale lies in another shard than its weight. */
    public static void write(Path folder, Map<String, Tensor> tensors) throws IOException {
        Map<String, Tensor> first = new LinkedHashMap<>(), second = new LinkedHashMap<>();
        var map = new StringBuilder();
        tensors.forEach((name, tensor) -> {
            boolean one = (name.replace("_scale_inv", "").hashCode() & 1) == 0 ^ name.endsWith("_scale_inv");
            (one ? first : second).put(name, tensor);
            map.append(map.isEmpty() ? "" : ",\n").append("  \"%s\": \"%s\"".formatted(name, one ? FIRST : SECOND));
        });
        SafetensorsWriter.write(folder.resolve(FIRST), first, Map.of("format", "pt"));
        SafetensorsWriter.write(folder.resolve(SECOND), second, Map.of("format", "pt"));
        Files.writeString(folder.resolve(INDEX), "{\"metadata\": {}, \"weight_map\": {\n" + map + "\n}}");
    }

    /** Breaks a copy of the sound checkpoint in one way that the seed decides; says how. */
    public static String mutate(Path sound, Path copy, long seed) throws IOException {
        for (String file : List.of("config.json", INDEX, FIRST, SECOND))
            Files.write(copy.resolve(file), Files.readAllBytes(sound.resolve(file)));
        var random = new Random(seed);
        Path shard = copy.resolve(random.nextBoolean() ? FIRST : SECOND);
        Path config = copy.resolve("config.json"), index = copy.resolve(INDEX);
        Path any = List.of(config, index, shard, shard).get(random.nextInt(4));
        byte[] bytes = Files.readAllBytes(any), data = Files.readAllBytes(shard);
        var wrapped = ByteBuffer.wrap(data).order(ByteOrder.LITTLE_ENDIAN);
        int header = (int) wrapped.getLong(0);
        String headerText = new String(data, 8, header, StandardCharsets.UTF_8);
        String how = "seed " + seed + ": ";
        return switch (random.nextInt(12)) {
            case 0 -> {
                int at = random.nextInt(bytes.length);
                bytes[at] ^= (byte) (1 << random.nextInt(8));
                Files.write(any, bytes);
                yield how + "a bit flipped at " + at + " of " + any.getFileName();
            }
            case 1 -> {
                int at = 8 + random.nextInt(header);
                data[at] ^= (byte) (1 << random.nextInt(8));
                Files.write(shard, data);
                yield how + "a bit flipped in the header at " + at;
            }
            case 2 -> {
                int at = random.nextInt(CONFIG.length());
                byte[] text = CONFIG.getBytes(StandardCharsets.UTF_8);
                text[at] = (byte) random.nextInt(256);
                Files.write(config, text);
                yield how + "config.json: another byte at " + at;
            }
            case 3 -> {
                int length = random.nextInt(bytes.length);
                Files.write(any, Arrays.copyOf(bytes, length));
                yield how + any.getFileName() + " cut to " + length;
            }
            case 4 -> {
                byte[] other = Files.readAllBytes(copy.resolve(FIRST));
                Files.write(copy.resolve(FIRST), Files.readAllBytes(copy.resolve(SECOND)));
                Files.write(copy.resolve(SECOND), other);
                yield how + "shards swapped";
            }
            case 5, 6 -> {
                Files.writeString(config, otherNumber(CONFIG, random));
                yield how + "config.json: another number";
            }
            case 7 -> {
                byte[] edited = otherNumber(headerText, random).getBytes(StandardCharsets.UTF_8);
                var file = ByteBuffer.allocate(8 + edited.length + data.length - 8 - header)
                        .order(ByteOrder.LITTLE_ENDIAN)
                        .putLong(edited.length)
                        .put(edited)
                        .put(data, 8 + header, data.length - 8 - header);
                Files.write(shard, file.array());
                yield how + "another number in the header";
            }
            case 8 -> {
                String text = Files.readString(index);
                String[] lines = text.split("\n", -1);
                int a = 1 + random.nextInt(lines.length - 2), b = 1 + random.nextInt(lines.length - 2);
                String nameA = lines[a].split("\"", -1)[1], nameB = lines[b].split("\"", -1)[1];
                Files.writeString(index, text.replace("\"" + nameA + "\"", "\"" + nameB + "\""));
                yield how + "index names %s for %s".formatted(nameB, nameA);
            }
            case 9 -> {
                Files.delete(any);
                yield how + any.getFileName() + " deleted";
            }
            case 10 -> {
                wrapped.putLong(0, random.nextBoolean() ? random.nextLong() : header + random.nextInt(64) - 32);
                Files.write(shard, data);
                yield how + "another header length";
            }
            default -> {
                int at = 8 + header + random.nextInt(data.length - 8 - header);
                data[at] = (byte) random.nextInt(256);
                Files.write(shard, data);
                yield how + "another byte of data at " + at;
            }
        };
    }

    private static String otherNumber(String text, Random random) {
        var numbers = NUMBER.matcher(text).results().toList();
        var number = numbers.get(random.nextInt(numbers.size()));
        String other = NUMBERS.get(random.nextInt(NUMBERS.size()));
        return text.substring(0, number.start()) + other + text.substring(number.end());
    }
}
