package org.panamoe.lab.placement;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import tools.jackson.core.JacksonException;
import tools.jackson.core.StreamReadFeature;
import tools.jackson.core.json.JsonFactory;
import tools.jackson.core.json.JsonReadFeature;
import tools.jackson.databind.DeserializationFeature;
import tools.jackson.databind.JsonNode;
import tools.jackson.databind.json.JsonMapper;

/**
 * Cases in JSON: an object with {@code weight} (layers x experts), {@code num_replicas}, {@code num_groups}, {@code
 * num_nodes}, {@code num_gpus}, and maybe a {@code name}; or an object whose {@code cases} are a list of these. Other
 * keys are not looked at.
 */
public final class CaseReader {
    private static final int MAX_BYTES = 256 << 20;

    private static final JsonMapper MAPPER = JsonMapper.builder(new JsonFactory())
            .enable(StreamReadFeature.STRICT_DUPLICATE_DETECTION)
            .enable(DeserializationFeature.FAIL_ON_TRAILING_TOKENS)
            // Python writes NaN and Infinity: read, so that they can be refused by their place.
            .enable(JsonReadFeature.ALLOW_NON_NUMERIC_NUMBERS)
            .build();

    private CaseReader() {}

    /** @throws IllegalArgumentException naming the file, and the field or the position */
    public static List<PlacementCase> read(Path file) throws IOException {
        if (Files.isRegularFile(file) && Files.size(file) > MAX_BYTES)
            throw new IllegalArgumentException(
                    "%s: %d bytes, more than the %d allowed".formatted(file, Files.size(file), MAX_BYTES));
        var cases = new ArrayList<PlacementCase>();
        try {
            var root = MAPPER.readTree(Files.readAllBytes(file));
            if (!root.has("cases")) return List.of(one(root, String.valueOf(file.getFileName())));
            for (JsonNode node : root.path("cases")) {
                String name = "cases[%d]".formatted(cases.size());
                try {
                    cases.add(one(node, node.path("name").asString(name)));
                } catch (IllegalArgumentException e) {
                    throw new IllegalArgumentException(name + ": " + e.getMessage(), e);
                }
            }
        } catch (JacksonException e) {
            var at = e.getLocation();
            throw new IllegalArgumentException(
                    "%s, line %d, column %d: %s"
                            .formatted(file, at.getLineNr(), at.getColumnNr(), e.getOriginalMessage()),
                    e);
        } catch (IllegalArgumentException e) {
            throw new IllegalArgumentException(file + ": " + e.getMessage(), e);
        }
        if (cases.isEmpty()) throw new IllegalArgumentException(file + ": cases: none");
        return cases;
    }

    private static PlacementCase one(JsonNode node, String name) {
        if (!node.isObject()) throw new IllegalArgumentException("not a JSON object");
        return new PlacementCase(
                node.path("name").asString(name),
                weight(node.path("weight")),
                integer(node, "num_replicas"),
                integer(node, "num_groups"),
                integer(node, "num_nodes"),
                integer(node, "num_gpus"));
    }

    private static float[][] weight(JsonNode node) {
        if (!node.isArray()) throw new IllegalArgumentException("weight: is not a list of layers");
        float[][] weight = new float[node.size()][];
        for (int layer = 0; layer < weight.length; layer++) {
            JsonNode row = node.get(layer);
            if (!row.isArray())
                throw new IllegalArgumentException("weight[%d]: is not a list of numbers".formatted(layer));
            weight[layer] = new float[row.size()];
            for (int e = 0; e < row.size(); e++) {
                if (!row.get(e).isNumber())
                    throw new IllegalArgumentException(
                            "weight[%d][%d]: %s is not a number".formatted(layer, e, row.get(e)));
                weight[layer][e] = (float) row.get(e).numberValue().doubleValue();
            }
        }
        return weight;
    }

    private static int integer(JsonNode node, String key) {
        JsonNode value = node.path(key);
        if (value.isMissingNode()) throw new IllegalArgumentException(key + ": is missing");
        if (!value.isIntegralNumber() || !value.canConvertToInt())
            throw new IllegalArgumentException("%s: %s is not an integer of 32 bits".formatted(key, value));
        return value.intValue();
    }
}
