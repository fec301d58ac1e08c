package org.panamoe.lab.routing;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.concurrent.atomic.AtomicInteger;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

class SweepTest {
    private static final String CONFIG = """
            {"input": "synthetic:layers=2,tokens=1024", "methods": ["none", "sign", "bip:iterations=2"],
             "rates": [0.001, 0.01], "experts": [8, 16], "chosen": 2, "groups": ["1/1", "2/4"], "drift": [0, 0.3],
             "batches": 256, "seeds": [1, 2, 3], "detail": true}
            """;

    @TempDir
    private Path folder;

    private static int run(Path to, int threads) throws IOException {
        var done = new AtomicInteger();
        try (var sweep = new Sweep(SweepConfig.parse("c.json", CONFIG))) {
            assertThat(sweep.size()).isEqualTo(4 * 2 * 2 * 2 * 3);
            sweep.run(to, threads, done::incrementAndGet);
        }
        return done.get();
    }

    @Test
    void theSameBytesWhateverTheThreadsAndInterruptions() throws IOException {
        Path one = folder.resolve("one"), four = folder.resolve("four");
        assertThat(run(one, 1)).isEqualTo(96);
        run(four, 4);
        assertSame(one, four);
        // As after a stop: cells and results are missing, one was half written.
        try (var cells = Files.list(four.resolve("cells"))) {
            var some = cells.sorted().limit(40).toList();
            for (var cell : some) Files.delete(cell);
            Files.writeString(some.getFirst().resolveSibling(some.getFirst().getFileName() + ".part"), "half");
        }
        Files.delete(four.resolve("results.jsonl"));
        Path kept;
        try (var cells = Files.list(four.resolve("cells"))) {
            kept = cells.filter(file -> file.toString().endsWith(".jsonl"))
                    .findAny()
                    .orElseThrow();
        }
        var before = Files.getLastModifiedTime(kept);
        run(four, 2);
        assertSame(one, four);
        assertThat(Files.getLastModifiedTime(kept)).isEqualTo(before);
    }

    private static void assertSame(Path a, Path b) throws IOException {
        for (String name : List.of("results.jsonl", "results.csv", "summary.csv"))
            assertThat(Files.mismatch(a.resolve(name), b.resolve(name)))
                    .as(name)
                    .isEqualTo(-1);
    }

    /** One schema: every JSON line is the CSV line of its place, and the summary is of what they say. */
    @Test
    void jsonAndCsvSayTheSame() throws IOException {
        run(folder, 2);
        var rows = ResultFiles.read(folder.resolve("results.jsonl"));
        assertThat(ResultFiles.csv(rows)).isEqualTo(Files.readString(folder.resolve("results.csv")));
        assertThat(ResultFiles.json(rows)).isEqualTo(Files.readString(folder.resolve("results.jsonl")));
        var summary = new Summary();
        rows.forEach(summary::add);
        assertThat(summary.table().rowKeySet()).hasSize(32);
        assertThat(summary.csv()).isEqualTo(Files.readString(folder.resolve("summary.csv")));
        for (var stats : summary.table().column("max_vio_batch").values())
            assertThat(stats.count()).isEqualTo(3);
        // Rows and dropped slots are tokens times K in every layer of every run.
        double counted = rows.stream()
                .filter(row -> row.metric().equals("count"))
                .mapToDouble(Row::value)
                .sum();
        assertThat(counted).isEqualTo(96.0 * 2 * 1024 * 2);
    }

    /** Methods are compared on the same tokens: their first batch, before anything is learnt, is the same. */
    @Test
    void methodsSeeTheSameTokens() throws IOException {
        run(folder, 2);
        var first = ResultFiles.read(folder.resolve("results.jsonl")).stream()
                .filter(row ->
                        row.step() != null && row.step() == 0 && !row.method().startsWith("bip"))
                .toList();
        for (var a : first)
            for (var b : first)
                if (a.seed() == b.seed() && a.input().equals(b.input()) && a.groups() == b.groups())
                    assertThat(a.value()).isEqualTo(b.value());
    }

    @ParameterizedTest
    @CsvSource(delimiter = '|', textBlock = """
            []                                                            | c.json: is not a JSON object
            {"methods": "none"}                                           | c.json: no input
            {"input": "synthetic"}                                        | c.json: no methods
            {"input": "synthetic", "methods": "none", "color": 1}         | c.json: a sweep has no color
            {"input": "synthetic", "methods": []}                         | methods is empty
            {"input": "synthetic", "methods": ["none", "none"]}           | methods has a value twice
            {"input": "synthetic", "input": "synthetic"}                  | input is given twice
            {"input": "synthetic", "methods": {"a": 1}}                   | methods is neither a value nor a list
            {"input": "synthetic", "methods": "none", "seeds": [1, 2]}    | want at least 3
            {"input": "synthetic", "methods": "none", "epochs": [1, 2]}   | epochs has 2 values, not one
            {"input": "synthetic", "methods": "none", "batches": 1.5}     | batches: 1.5 is not a whole number
            {"input": "synthetic", "methods": "none", "detail": "some"}   | detail: some is neither true nor false
            {"input": "t.safetensors", "methods": "none", "drift": 1}     | t.safetensors is recorded
            {"input": "synthetic",                                        | line 1, column
            """)
    void badConfigurationsAreNamed(String text, String problem) {
        assertThatThrownBy(() -> SweepConfig.parse("c.json", text))
                .isInstanceOf(IllegalArgumentException.class)
                .hasMessageContaining(problem);
    }

    @ParameterizedTest
    @CsvSource(delimiter = '|', textBlock = """
            {"input": "synthetic", "methods": "magic"}                               | there is none of this name
            {"input": "synthetic", "methods": "sign", "rates": -1}                   | rate is -1
            {"input": "synthetic", "methods": "expert-choice", "groups": "2/4"}      | 2 of 4 groups
            {"input": "synthetic", "methods": "none", "experts": 10, "ranks": 4}     | over 4 ranks
            {"input": "synthetic:x=1", "methods": "none"}                            | has no x
            """)
    void whatCannotRunIsRefusedBeforeAnythingRuns(String text, String problem) {
        assertThatThrownBy(() -> new Sweep(SweepConfig.parse("c.json", text)))
                .isInstanceOf(IllegalArgumentException.class)
                .hasMessageContaining(problem);
    }

    private static List<String> shape(double[][] rates) {
        var summary = new Summary();
        for (double[] rate : rates) {
            summary.add(row(rate[0], "max_vio_batch", rate[1]));
            summary.add(row(rate[0], "max_vio_global", rate[2]));
        }
        return ShapeOfRates.of(summary);
    }

    private static Row row(double rate, String metric, double value) {
        return new Row("r", "i", "sign:rate=" + rate, rate, 8, 2, 1, 1, 64, null, 1, null, null, null, metric, value);
    }

    @Test
    void theShapeIsToldInWords() {
        double[][] published = {{0.0001, 0.9, 0.9}, {0.001, 0.5, 0.5}, {0.01, 0.2, 0.03}, {0.05, 0.45, 0.1}};
        assertThat(shape(published))
                .hasSize(3)
                .anySatisfy(note -> assertThat(note).contains("0.001, the published one, is too slow"))
                .anySatisfy(note -> assertThat(note).contains("0.05 oscillates"));
        // Unbalanced to the same side all the time is no oscillation.
        double[][] stuck = {{0.001, 0.3, 0.1}, {0.01, 0.2, 0.03}, {0.05, 0.45, 0.4}};
        assertThat(shape(stuck)).singleElement().asString().contains("0.05 is too high");
        assertThat(shape(new double[][] {{0.001, 0.9, 0.9}, {0.01, 0.2, 0.03}})).isEmpty();
    }
}
