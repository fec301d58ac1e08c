package org.panamoe.lab.routing;

import java.util.List;
import org.jspecify.annotations.Nullable;
import tools.jackson.core.JsonGenerator;

/**
 * One result, the same in CSV, in JSON lines and on a page. What does not apply is null: {@code step} for a value over all
 * measured tokens, {@code layer} for the mean over layers, {@code expert} for what is not about one.
 *
 * @param run what all rows of one run share
 * @param input the trace
 * @param method with its parameters
 * @param rate of a method that has one
 * @param groups groups of experts
 * @param kept groups that a token may use
 * @param batch tokens after which a method learns
 * @param drift of a stream that is made up
 * @param step the batch, from 0 on
 * @param metric {@link Metric#key}; {@code count}: rows of an expert; {@code bias}: of an expert, in the end
 */
public record Row(
        String run,
        String input,
        String method,
        @Nullable Double rate,
        int experts,
        int chosen,
        int groups,
        int kept,
        int batch,
        @Nullable Double drift,
        long seed,
        @Nullable Long step,
        @Nullable Integer layer,
        @Nullable Integer expert,
        String metric,
        double value) {
    /** The keys of a JSON line, and the header of a CSV file. */
    public static final List<String> COLUMNS = List.of(
            "run", "input", "method", "rate", "experts", "chosen", "groups", "kept", "batch", "drift", "seed", "step",
            "layer", "expert", "metric", "value");

    private @Nullable Object[] values() {
        return new @Nullable Object[] {
            run, input, method, rate, experts, chosen, groups, kept, batch, drift, seed, step, layer, expert, metric,
            value
        };
    }

    /** A line of a CSV file (RFC 4180), without its end; null is empty. */
    public String csv() {
        var line = new StringBuilder();
        for (Object value : values()) {
            if (!line.isEmpty()) line.append(',');
            String text = value == null ? "" : value.toString();
            boolean quoted = text.contains(",") || text.contains("\"") || text.contains("\n");
            line.append(quoted ? '"' + text.replace("\"", "\"\"") + '"' : text);
        }
        return line.toString();
    }

    /** One object; keys whose value is null are left out. */
    void write(JsonGenerator json) {
        json.writeStartObject();
        Object[] values = values();
        for (int i = 0; i < values.length; i++)
            switch (values[i]) {
                case null -> {}
                case String text -> json.writeStringProperty(COLUMNS.get(i), text);
                case Double number -> json.writeNumberProperty(COLUMNS.get(i), number);
                case Number number -> json.writeNumberProperty(COLUMNS.get(i), number.longValue());
                default -> throw new AssertionError(values[i]);
            }
        json.writeEndObject();
    }
}
