package org.panamoe.lab.routing;

import java.io.BufferedReader;
import java.io.BufferedWriter;
import java.io.IOException;
import java.io.StringWriter;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.util.ArrayList;
import java.util.List;
import org.jspecify.annotations.Nullable;
import tools.jackson.core.JacksonException;
import tools.jackson.core.JsonToken;
import tools.jackson.core.ObjectReadContext;
import tools.jackson.core.ObjectWriteContext;
import tools.jackson.core.json.JsonFactory;

/** Rows as JSON lines and as CSV, written and read. */
public final class ResultFiles {
    private static final JsonFactory JSON = new JsonFactory();

    private ResultFiles() {}

    /** A line for each row. */
    public static String json(List<Row> rows) {
        var text = new StringWriter();
        for (var row : rows) {
            try (var json = JSON.createGenerator(ObjectWriteContext.empty(), text)) {
                row.write(json);
            }
            text.write('\n');
        }
        return text.toString();
    }

    /** The header, and a line for each row. */
    public static String csv(List<Row> rows) {
        var text = new StringBuilder(String.join(",", Row.COLUMNS)).append('\n');
        for (var row : rows) text.append(row.csv()).append('\n');
        return text.toString();
    }

    /** @throws IllegalArgumentException if a line is no row */
    public static List<Row> read(Path file) throws IOException {
        var rows = new ArrayList<Row>();
        try (var lines = Files.newBufferedReader(file)) {
            int number = 1;
            for (String line = lines.readLine(); line != null; line = lines.readLine(), number++)
                rows.add(parse(line, file + ", line " + number));
        }
        return rows;
    }

    /** Puts the rows of all cells together, in their order. */
    static void collect(List<Path> cells, Path folder) throws IOException {
        var summary = new Summary();
        var jsonPart = folder.resolve("results.jsonl.part");
        var csvPart = folder.resolve("results.csv.part");
        try (var json = Files.newBufferedWriter(jsonPart);
                var csv = Files.newBufferedWriter(csvPart)) {
            csv.write(String.join(",", Row.COLUMNS));
            csv.write('\n');
            for (var cell : cells) append(cell, json, csv, summary);
        }
        Files.move(jsonPart, folder.resolve("results.jsonl"), StandardCopyOption.ATOMIC_MOVE);
        Files.move(csvPart, folder.resolve("results.csv"), StandardCopyOption.ATOMIC_MOVE);
        Sweep.write(folder.resolve("summary.csv"), summary.csv());
    }

    private static void append(Path cell, BufferedWriter json, BufferedWriter csv, Summary summary) throws IOException {
        try (BufferedReader lines = Files.newBufferedReader(cell)) {
            int number = 1;
            for (String line = lines.readLine(); line != null; line = lines.readLine(), number++) {
                var row = parse(line, cell + ", line " + number);
                json.write(line);
                json.write('\n');
                csv.write(row.csv());
                csv.write('\n');
                summary.add(row);
            }
        }
    }

    private static Row parse(String line, String where) {
        String run = null, input = null, method = null, metric = null;
        Double rate = null, drift = null, value = null;
        Integer layer = null, expert = null;
        Long step = null;
        long seed = 0;
        int experts = 0, chosen = 0, groups = 0, kept = 0, batch = 0;
        try (var json = JSON.createParser(ObjectReadContext.empty(), line)) {
            if (json.nextToken() != JsonToken.START_OBJECT) throw noRow(where, "is not an object");
            while (json.nextToken() == JsonToken.PROPERTY_NAME) {
                String key = json.currentName();
                json.nextToken();
                switch (key) {
                    case "run" -> run = json.getString();
                    case "input" -> input = json.getString();
                    case "method" -> method = json.getString();
                    case "rate" -> rate = json.getDoubleValue();
                    case "experts" -> experts = json.getIntValue();
                    case "chosen" -> chosen = json.getIntValue();
                    case "groups" -> groups = json.getIntValue();
                    case "kept" -> kept = json.getIntValue();
                    case "batch" -> batch = json.getIntValue();
                    case "drift" -> drift = json.getDoubleValue();
                    case "seed" -> seed = json.getLongValue();
                    case "step" -> step = json.getLongValue();
                    case "layer" -> layer = json.getIntValue();
                    case "expert" -> expert = json.getIntValue();
                    case "metric" -> metric = json.getString();
                    case "value" -> value = json.getDoubleValue();
                    default -> throw noRow(where, "has a key " + key);
                }
            }
        } catch (JacksonException e) {
            throw noRow(where, e.getOriginalMessage());
        }
        return new Row(
                there(run, "run", where),
                there(input, "input", where),
                there(method, "method", where),
                rate,
                experts,
                chosen,
                groups,
                kept,
                batch,
                drift,
                seed,
                step,
                layer,
                expert,
                there(metric, "metric", where),
                there(value, "value", where));
    }

    private static <T> T there(@Nullable T value, String key, String where) {
        if (value == null) throw noRow(where, "has no " + key);
        return value;
    }

    private static IllegalArgumentException noRow(String where, @Nullable String problem) {
        return new IllegalArgumentException(where + ": not a result: " + problem);
    }
}
