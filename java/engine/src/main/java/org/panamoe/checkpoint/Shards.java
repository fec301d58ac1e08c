package org.panamoe.checkpoint;

import java.lang.foreign.Arena;
import java.nio.file.Files;
import java.nio.file.InvalidPathException;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.HashMap;
import java.util.Map;
import org.jspecify.annotations.Nullable;
import org.panamoe.tensor.DType;
import org.panamoe.tensor.QuantFormat;
import org.panamoe.tensor.Tensor;
import org.panamoe.tensor.Weight;
import tools.jackson.core.JsonParser;
import tools.jackson.core.JsonToken;

/** The safetensors files of a folder, mapped when the first tensor of each is asked for. */
final class Shards {
    private static final String SINGLE = "model.safetensors";
    private static final String INDEX = "model.safetensors.index.json";

    /** The file that says which tensors there are, for messages. */
    final String list;

    /** The file of each tensor, by the tensor's name. */
    final Map<String, String> fileOf = new HashMap<>();

    private final Path folder;
    private final Arena arena;
    private final Map<String, Safetensors> mapped = new HashMap<>();

    Shards(Path folder, Arena arena) {
        this.folder = folder;
        this.arena = arena;
        if (Files.exists(folder.resolve(SINGLE))) {
            list = SINGLE;
            for (String name : file(SINGLE).names()) fileOf.put(name, SINGLE);
        } else if (Files.exists(folder.resolve(INDEX))) {
            list = INDEX;
            Json.stream(INDEX, Json.bytes(folder.resolve(INDEX)), this::readIndex);
        } else throw new CheckpointException(folder.toString(), "has neither %s nor %s".formatted(SINGLE, INDEX));
    }

    /**
     * The weight of this shape, with its scales if its type is that of a quantised one.
     *
     * @param integers the format of those whose type is an integer; null if there are none
     */
    Weight weight(String name, long[] shape, @Nullable QuantFormat integers) {
        DType type = fileWith(name).dtype(name);
        if (type == DType.I8 || type == DType.U8) {
            if (integers == null || type != integers.stored || shape.length != 2)
                throw new CheckpointException(
                        fileOf(name),
                        "%s: is %s, but config.json's quantization_config has no such integers, or not in this weight"
                                .formatted(name, type));
            Tensor codes = tensor(name, new long[] {shape[0], integers.elements((int) shape[1])});
            return new Weight(integers, codes, scale(name, codes, integers, shape), (int) shape[1]);
        }
        Tensor data = tensor(name, shape);
        return switch (data.dtype) {
            case F32, BF16 -> Weight.of(data);
            case F8_E4M3 -> {
                var format = QuantFormat.F8_E4M3_B128;
                yield new Weight(format, data, scale(name, data, format, shape));
            }
            case F16, I32, I64, U8, I8 ->
                throw new CheckpointException(
                        fileOf(name),
                        "%s: dtype %s is not a weight's (F32, BF16, F8_E4M3 are)".formatted(name, data.dtype));
        };
    }

    private Tensor scale(String name, Tensor data, QuantFormat format, long[] shape) {
        String scale = name + Checkpoint.scale(format);
        if (!fileOf.containsKey(scale))
            throw new CheckpointException(list, "%s: missing, but %s is %s".formatted(scale, name, data));
        if (data.rank() != 2)
            throw new CheckpointException(fileOf(name), "%s: is %s, but blocks need a matrix".formatted(name, data));
        Tensor found = tensor(
                scale, new long[] {Math.ceilDiv(shape[0], format.blockRows), Math.ceilDiv(shape[1], format.block)});
        if (found.dtype != format.scales)
            throw new CheckpointException(
                    fileOf(scale), "%s: is %s, scales are %s".formatted(scale, found, format.scales));
        return found;
    }

    private Tensor tensor(String name, long[] shape) {
        Safetensors file = fileWith(name);
        if (!Arrays.equals(file.shape(name), shape))
            throw new CheckpointException(
                    file.file(),
                    "%s: shape %s, but config.json asks for %s"
                            .formatted(name, Arrays.toString(file.shape(name)), Arrays.toString(shape)));
        return file.tensor(name);
    }

    private Safetensors fileWith(String name) {
        Safetensors file = file(fileOf(name));
        if (!file.names().contains(name))
            throw new CheckpointException(list, "weight_map: %s: %s has no such tensor".formatted(name, file.file()));
        return file;
    }

    private String fileOf(String name) {
        String file = fileOf.get(name);
        if (file == null) throw new CheckpointException(list, name + ": no such tensor");
        return file;
    }

    private Safetensors file(String name) {
        return mapped.computeIfAbsent(name, n -> Safetensors.map(folder.resolve(n), arena));
    }

    private Shards readIndex(JsonParser json) {
        if (json.nextToken() != JsonToken.START_OBJECT) throw new CheckpointException(INDEX, "not a JSON object");
        boolean found = false;
        while (json.nextToken() != JsonToken.END_OBJECT) {
            boolean map = json.currentName().equals("weight_map");
            if (map && found) throw new CheckpointException(INDEX, "weight_map: is named twice");
            found |= map;
            if (map) readWeightMap(json);
            else {
                json.nextToken();
                json.skipChildren();
            }
        }
        if (json.nextToken() != null) throw new CheckpointException(INDEX, "something follows its object");
        if (!found) throw new CheckpointException(INDEX, "weight_map: missing");
        return this;
    }

    private void readWeightMap(JsonParser json) {
        if (json.nextToken() != JsonToken.START_OBJECT)
            throw new CheckpointException(INDEX, "weight_map: is not an object");
        while (json.nextToken() != JsonToken.END_OBJECT) {
            String name = json.currentName();
            if (json.nextToken() != JsonToken.VALUE_STRING)
                throw new CheckpointException(INDEX, "weight_map: %s: is not a file's name".formatted(name));
            String file = json.getString();
            if (!plainName(file))
                throw new CheckpointException(
                        INDEX, "weight_map: %s: \"%s\" is not the name of a file in this folder".formatted(name, file));
            if (fileOf.put(name, file) != null)
                throw new CheckpointException(INDEX, "weight_map: %s: is named twice".formatted(name));
        }
    }

    /** Nothing that leads out of the folder. A link of this name may: caches of downloads are made of them. */
    private static boolean plainName(String file) {
        try {
            return !file.isEmpty()
                    && !file.equals(".")
                    && !file.equals("..")
                    && file.indexOf('/') < 0
                    && file.indexOf('\\') < 0
                    && Path.of(file).getNameCount() == 1;
        } catch (InvalidPathException e) {
            return false;
        }
    }
}
