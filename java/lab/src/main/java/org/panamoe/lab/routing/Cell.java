package org.panamoe.lab.routing;

import com.google.common.hash.HashCode;
import com.google.common.hash.Hashing;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.List;
import org.jspecify.annotations.Nullable;

/**
 * One run of a comparison or a sweep: a method, an input, a seed.
 *
 * @param input its name
 * @param fingerprint what tells the input from others of its name
 * @param drift of a stream that is made up; null for a recorded one
 * @param seed 0: the recorded order
 * @param detail whether its rows hold the curve, the counts and the biases too
 */
record Cell(
        Replay replay,
        String input,
        String fingerprint,
        MethodSpec method,
        @Nullable Double drift,
        long seed,
        boolean detail) {
    /** Changes when the same cell would give other rows. */
    private static final String FORMAT = "1";

    /** A name that no other cell has. */
    String run() {
        return hash(String.join(
                        "|",
                        stream(),
                        FORMAT,
                        method.toString(),
                        "" + replay.batch(),
                        "" + replay.computationBatch(),
                        "" + replay.epochs(),
                        "" + replay.warmUp(),
                        replay.geometry().toString(),
                        "" + detail))
                .toString();
    }

    /** All methods, and all batch sizes, see the same tokens for one seed. */
    private long streamSeed() {
        return seed == 0 ? 0 : hash(stream()).asLong() | 1;
    }

    private String stream() {
        return String.join("|", input, fingerprint, replay.trace().rule().toString(), "" + seed);
    }

    private static HashCode hash(String key) {
        return Hashing.murmur3_128().hashString(key, StandardCharsets.UTF_8);
    }

    Outcome play() {
        return replay.run(method, streamSeed(), 1);
    }

    /** The rows of what came of it. */
    List<Row> rows(Outcome outcome) {
        var rows = new ArrayList<Row>();
        for (var metric : Metric.values())
            outcome.mean(metric).ifPresent(value -> rows.add(row(null, null, null, metric.key(), value)));
        outcome.layers()
                .forEach((layer, of) ->
                        of.metrics.forEach((metric, value) -> rows.add(row(null, layer, null, metric.key(), value))));
        if (detail) addDetail(outcome, rows);
        return rows;
    }

    private void addDetail(Outcome outcome, List<Row> rows) {
        double[] curve = outcome.maxVio();
        long stride = outcome.layers().values().iterator().next().maxVio.stride();
        for (int i = 0; i < curve.length; i++)
            rows.add(row(i * stride, null, null, Metric.MAX_VIO_BATCH.key(), curve[i]));
        outcome.layers().forEach((layer, of) -> {
            for (int e = 0; e < of.count_E.length; e++) rows.add(row(null, layer, e, "count", (double) of.count_E[e]));
            for (int e = 0; e < of.bias_E.length; e++) rows.add(row(null, layer, e, "bias", of.bias_E[e]));
        });
    }

    private Row row(
            @Nullable Long step, @Nullable Integer layer, @Nullable Integer expert, String metric, double value) {
        var rule = replay.trace().rule();
        String rate = method.parameters().get("rate");
        return new Row(
                run(),
                input,
                method.toString(),
                rate == null ? null : Double.valueOf(rate),
                rule.experts(),
                rule.chosen(),
                rule.groups(),
                rule.keptGroups(),
                replay.batch(),
                drift,
                seed,
                step,
                layer,
                expert,
                metric,
                value);
    }
}
