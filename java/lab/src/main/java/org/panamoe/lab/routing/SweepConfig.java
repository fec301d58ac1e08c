package org.panamoe.lab.routing;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.HashSet;
import java.util.List;
import java.util.Set;
import tools.jackson.core.JacksonException;
import tools.jackson.core.JsonParser;
import tools.jackson.core.JsonToken;
import tools.jackson.core.ObjectReadContext;
import tools.jackson.core.json.JsonFactory;

/**
 * What a sweep varies, from a JSON object whose lists are multiplied with each other:
 *
 * <pre>
 * {"input": "synthetic:layers=2,tokens=65536", "methods": ["none", "sign", "quantile"], "rates": [0.001, 0.01],
 *  "experts": [64], "chosen": [6], "groups": ["1/1", "4/8"], "drift": [0, 0.2], "batches": [2048], "seeds": [1, 2, 3],
 *  "epochs": 1, "warm_up": 8, "ranks": 8, "nodes": 1, "detail": false}
 * </pre>
 *
 * Only input, a file or a synthetic stream, and methods are required. Rates are for the methods that have one, and do not
 * name it already. Experts, chosen and drift vary synthetic streams only; groups are KEPT/GROUPS.
 */
public final class SweepConfig {
    /** Fewer make no deviation to speak of. */
    private static final int LEAST_SEEDS = 3;

    private final String file;
    private final Set<String> seen = new HashSet<>();
    String input = "";
    List<String> methods = List.of();
    List<String> rates = List.of();
    List<String> experts = List.of();
    List<String> chosen = List.of();
    List<String> groups = List.of("");
    List<String> drift = List.of();
    List<Integer> batches = List.of(2048);
    List<Integer> seeds = List.of(1, 2, 3);
    int computationBatch;
    int epochs = 1;
    int warmUp;
    int ranks;
    int nodes;
    boolean detail;

    private SweepConfig(String file) {
        this.file = file;
    }

    /** @throws IllegalArgumentException that names the key and what is wrong with it */
    public static SweepConfig read(Path file) throws IOException {
        return parse(String.valueOf(file.getFileName()), Files.readString(file));
    }

    static SweepConfig parse(String file, String text) {
        var config = new SweepConfig(file);
        try (var json = new JsonFactory().createParser(ObjectReadContext.empty(), text)) {
            if (json.nextToken() != JsonToken.START_OBJECT) throw config.wrong("is not a JSON object");
            while (json.nextToken() == JsonToken.PROPERTY_NAME) config.take(json);
        } catch (JacksonException e) {
            var at = e.getLocation();
            throw config.wrong("line %d, column %d: %s"
                    .formatted(
                            at == null ? 0 : at.getLineNr(),
                            at == null ? 0 : at.getColumnNr(),
                            e.getOriginalMessage()));
        }
        config.check();
        return config;
    }

    private void take(JsonParser json) {
        String key = json.currentName();
        if (!seen.add(key)) throw wrong(key + " is given twice");
        var values = values(key, json);
        switch (key) {
            case "input" -> input = one(key, values);
            case "methods" -> methods = values;
            case "rates" -> rates = values;
            case "experts" -> experts = values;
            case "chosen" -> chosen = values;
            case "groups" -> groups = values;
            case "drift" -> drift = values;
            case "batches" -> batches = integers(key, values);
            case "seeds" -> seeds = integers(key, values);
            case "computation_batch" -> computationBatch = integer(key, one(key, values));
            case "epochs" -> epochs = integer(key, one(key, values));
            case "warm_up" -> warmUp = integer(key, one(key, values));
            case "ranks" -> ranks = integer(key, one(key, values));
            case "nodes" -> nodes = integer(key, one(key, values));
            case "detail" -> detail = flag(key, one(key, values));
            default -> throw wrong("a sweep has no " + key);
        }
    }

    private List<String> values(String key, JsonParser json) {
        if (json.nextToken() != JsonToken.START_ARRAY) return List.of(scalar(key, json));
        var values = new ArrayList<String>();
        while (json.nextToken() != JsonToken.END_ARRAY) values.add(scalar(key, json));
        if (values.isEmpty()) throw wrong(key + " is empty");
        if (new HashSet<>(values).size() < values.size())
            throw wrong("%s has a value twice: %s".formatted(key, values));
        return values;
    }

    private String scalar(String key, JsonParser json) {
        if (json.currentToken() == null || !json.currentToken().isScalarValue())
            throw wrong("%s is neither a value nor a list of them".formatted(key));
        return json.getString();
    }

    private String one(String key, List<String> values) {
        if (values.size() != 1) throw wrong("%s has %d values, not one".formatted(key, values.size()));
        return values.getFirst();
    }

    private List<Integer> integers(String key, List<String> values) {
        return values.stream().map(value -> integer(key, value)).toList();
    }

    private int integer(String key, String value) {
        if (!value.matches("[0-9]{1,9}")) throw wrong("%s: %s is not a whole number".formatted(key, value));
        return Integer.parseInt(value);
    }

    private boolean flag(String key, String value) {
        if (!value.equals("true") && !value.equals("false"))
            throw wrong("%s: %s is neither true nor false".formatted(key, value));
        return value.equals("true");
    }

    private void check() {
        if (input.isEmpty()) throw wrong("no input");
        if (methods.isEmpty()) throw wrong("no methods");
        if (seeds.size() < LEAST_SEEDS)
            throw wrong("seeds are %s: a mean and its deviation want at least %d".formatted(seeds, LEAST_SEEDS));
        boolean varied = !experts.isEmpty() || !chosen.isEmpty() || !drift.isEmpty();
        if (varied && !Input.isSynthetic(input))
            throw wrong("experts, chosen and drift vary synthetic streams; %s is recorded".formatted(input));
    }

    private IllegalArgumentException wrong(String problem) {
        return new IllegalArgumentException(file + ": " + problem);
    }
}
