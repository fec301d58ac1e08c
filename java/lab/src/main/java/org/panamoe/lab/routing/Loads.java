package org.panamoe.lab.routing;

import com.google.common.base.Splitter;
import com.google.common.collect.ImmutableSortedMap;
import com.google.common.collect.ImmutableTable;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.concurrent.Callable;

/**
 * How many rows each expert of each layer had to compute: all that placement and cost need to know of a trace.
 *
 * @param layers for each layer by its number the rows of each expert
 */
public record Loads(String name, ImmutableSortedMap<Integer, long[]> layers) {
    private static final int CHUNK = 4096;
    private static final String HEADER = "layer_id,expert_id,count";
    private static final int MAX_EXPERTS = 1 << 16;

    /** Counts what was recorded. Each layer's rows are its tokens times K. */
    public static Loads of(Trace trace, int threads) {
        var tasks = new ArrayList<Callable<long[]>>();
        for (int layer : trace.layers()) tasks.add(() -> count(trace, layer));
        var counts = Replay.all(tasks, threads);
        var layers = ImmutableSortedMap.<Integer, long[]>naturalOrder();
        for (int i = 0; i < counts.size(); i++) layers.put(trace.layers().get(i), counts.get(i));
        return new Loads(trace.name(), layers.build());
    }

    private static long[] count(Trace trace, int layer) {
        var rule = trace.rule();
        boolean recorded = trace.hasChoices();
        var batch = recorded
                ? Batch.ofChoices(CHUNK, rule.experts(), rule.chosen())
                : Batch.ofScores(CHUNK, rule.experts(), rule.chosen());
        var choices = new Choices(rule);
        long[] count_E = new long[rule.experts()];
        long tokens = 0;
        try (var reader = trace.read(layer, 0)) {
            while (reader.next(batch)) {
                if (recorded) choices.takeRecorded(batch);
                else choices.takeBest(batch);
                choices.count(0, choices.tokens(), count_E);
                tokens += batch.T;
            }
        }
        if (Arrays.stream(count_E).sum() != tokens * rule.chosen())
            throw new IllegalStateException("layer %d: %d tokens with %d experts each became %d rows"
                    .formatted(
                            layer, tokens, rule.chosen(), Arrays.stream(count_E).sum()));
        return count_E;
    }

    /**
     * Adds up what SGLang's expert distribution recorder wrote in early 2025 (about release 0.4.5: {@code
     * expert_distribution_rankR_timestampT.csv}, one file for each rank): lines layer_id,expert_id,count under that header,
     * without experts that had nothing to do. Later releases write a torch file instead.
     *
     * @param experts of a layer; 0: one more than the highest that occurs
     */
    public static Loads readSglang(List<Path> files, int experts) {
        var counts = new TreeMap<Integer, TreeMap<Integer, Long>>();
        for (var file : files) addSglang(file, experts, counts);
        int E = experts > 0
                ? experts
                : counts.values().stream().mapToInt(TreeMap::lastKey).max().orElse(-1) + 1;
        if (counts.isEmpty()) throw new IllegalArgumentException(files + ": no counts in them");
        var layers = ImmutableSortedMap.<Integer, long[]>naturalOrder();
        counts.forEach((layer, of) -> {
            long[] count_E = new long[E];
            of.forEach((e, count) -> count_E[e] = count);
            layers.put(layer, count_E);
        });
        return new Loads(String.valueOf(files.getFirst().getFileName()), layers.build());
    }

    private static void addSglang(Path file, int experts, Map<Integer, TreeMap<Integer, Long>> counts) {
        try (var lines = Files.newBufferedReader(file, StandardCharsets.UTF_8)) {
            String header = lines.readLine();
            if (!HEADER.equals(header))
                throw new IllegalArgumentException("%s: begins with '%s', not with %s".formatted(file, header, HEADER));
            int number = 1;
            for (String line = lines.readLine(); line != null; line = lines.readLine()) {
                number++;
                var parts = Splitter.on(',').splitToList(line);
                boolean numbers = parts.size() == 3 && parts.stream().allMatch(part -> part.matches("[0-9]{1,18}"));
                if (!numbers || parts.get(0).length() > 6 || parts.get(1).length() > 6)
                    throw new IllegalArgumentException(
                            "%s, line %d: '%s' is not three numbers".formatted(file, number, line));
                int e = Integer.parseInt(parts.get(1));
                if (e >= (experts > 0 ? experts : MAX_EXPERTS))
                    throw new IllegalArgumentException("%s, line %d: expert %d of %d"
                            .formatted(file, number, e, experts > 0 ? experts : MAX_EXPERTS));
                counts.computeIfAbsent(Integer.parseInt(parts.get(0)), layer -> new TreeMap<>())
                        .merge(e, Long.parseLong(parts.get(2)), Math::addExact);
            }
        } catch (IOException e) {
            throw new IllegalArgumentException(file + ": cannot be read: " + e.getMessage(), e);
        }
    }

    /** Layer, expert, rows. */
    public ImmutableTable<Integer, Integer, Long> table() {
        var table = ImmutableTable.<Integer, Integer, Long>builder();
        layers.forEach((layer, count_E) -> {
            for (int e = 0; e < count_E.length; e++) table.put(layer, e, count_E[e]);
        });
        return table.build();
    }
}
