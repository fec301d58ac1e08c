package org.panamoe.cli;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.within;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

class BalanceTest {
    private static final Path TALE =
            Path.of(System.getProperty("panamoe.root"), "java", "cli", "src", "test", "resources", "tale.txt");
    private static final String SMALL = "synthetic:layers=2,tokens=2048,experts=16,chosen=2";

    @TempDir
    private Path folder;

    private String trace(String... options) {
        var file = folder.resolve("trace.safetensors").toString();
        var args = new java.util.ArrayList<>(java.util.List.of("trace", "--file", TALE.toString(), "--output", file));
        args.addAll(java.util.List.of(options));
        Run.good(args.toArray(String[]::new));
        return file;
    }

    /**
     * The lab's choice is the engine's: with the model's own bias a replay gives the loads that the model had. Scores were
     * rounded to F16, so that one choice in a hundred may differ.
     */
    @Test
    void aReplayWithTheModelsBiasIsWhatTheModelDid() {
        String trace = trace("--scores");
        var recorded = Run.json("balance", "replay", "--input", trace);
        var replayed = Run.json("balance", "replay", "--input", trace, "--method", "recorded-bias");
        for (String of : new String[] {"layer_1", "layer_2", "layer_3", "layer_4", "mean"})
            for (String metric : new String[] {"max_vio_global", "cv", "gini", "nodes_per_token"})
                assertThat(replayed.path(of).path(metric).asDouble())
                        .as("%s, %s", of, metric)
                        .isCloseTo(recorded.path(of).path(metric).asDouble(), within(0.01));
        assertThat(recorded.path("mean").path("nodes_per_token").asDouble()).isBetween(1.0, 2.0);
        // Without its bias the model is less balanced, and the scores are the best there are.
        var none = Run.json("balance", "replay", "--input", trace, "--method", "none")
                .path("mean");
        assertThat(none.path("max_vio_global").asDouble())
                .isGreaterThan(recorded.path("mean").path("max_vio_global").asDouble());
        assertThat(none.path("score_kept").asDouble()).isEqualTo(1);
    }

    @Test
    void idsAloneServeMetricsButNoReplay() {
        String trace = trace();
        Run.good("balance", "replay", "--input", trace);
        assertThat(Run.refusal(1, "balance", "replay", "--input", trace, "--method", "none"))
                .contains("has expert ids only", "panamoe trace --scores");
    }

    @Test
    void compareTellsMeanAndDeviation() throws IOException {
        var file = folder.resolve("all.jsonl");
        String[] args = {
            "balance",
            "compare",
            "--input",
            SMALL,
            "--method",
            "none",
            "--method",
            "bip",
            "--batch",
            "256",
            "--output",
            file.toString()
        };
        var methods = Run.json(args).path("methods");
        assertThat(methods).hasSize(2);
        assertThat(methods.get(0).path("method").asString()).isEqualTo("none");
        var none = methods.get(0).path("metrics").path("max_vio_batch");
        assertThat(none.path("seeds").asInt()).isEqualTo(3);
        assertThat(none.path("deviation").asDouble()).isPositive();
        assertThat(methods.get(1)
                        .path("metrics")
                        .path("max_vio_batch")
                        .path("mean")
                        .asDouble())
                .isLessThan(none.path("mean").asDouble());
        assertThat(Files.readAllLines(file))
                .allMatch(line -> line.startsWith("{\"run\":"))
                .anyMatch(line -> line.contains("\"step\":7") && line.contains("max_vio_batch"))
                .anyMatch(line -> line.contains("\"metric\":\"count\""));
        assertThat(Run.good(args).out()).contains("method", "max_vio_batch", "none", "bip", " +- ");
    }

    /** The rates that fail, and the command that made it, stand on the page. */
    @Test
    void compareWritesAPage() throws IOException {
        var page = folder.resolve("page.html");
        var run = Run.good(
                "balance",
                "compare",
                "--seeds",
                "1",
                "--method",
                "sign:rate=0.0001",
                "--method",
                "sign:rate=0.001",
                "--method",
                "sign:rate=0.01",
                "--report",
                page.toString());
        String note = "sign: rate 1.0E-4 is too slow for this many steps";
        assertThat(run.out()).contains(note);
        assertThat(Files.readString(page))
                .startsWith("<!doctype html>")
                .contains(note, "balance compare --seeds 1", "sign:rate=0.01");
    }

    @Test
    void sweepWritesItsThreeFiles() throws IOException {
        var config = Files.writeString(folder.resolve("sweep.json"), """
                {"input": "%s", "methods": ["none", "sign"], "rates": [0.001, 0.01], "batches": 512}
                """.formatted(SMALL));
        String output = folder.resolve("out").toString();
        var run = Run.good("balance", "sweep", "--config", config.toString(), "--output", output);
        assertThat(run.out()).startsWith("9 runs: ");
        assertThat(folder.resolve("out").resolve("results.jsonl")).exists();
        assertThat(Files.readAllLines(folder.resolve("out").resolve("results.csv"))
                        .getFirst())
                .isEqualTo(
                        "run,input,method,rate,experts,chosen,groups,kept,batch,drift,seed,step,layer,expert,metric,value");
        assertThat(Files.readString(folder.resolve("out").resolve("summary.csv")))
                .contains("sign:rate=0.01,16,2,1,1,512,0.0,max_vio_batch,3,");
    }

    @Test
    void sglangsCountsAreMeasured() throws IOException {
        var counts = Files.writeString(folder.resolve("c.csv"), "layer_id,expert_id,count\n3,0,6\n3,1,2\n");
        var layer = Run.json("balance", "replay", "--input", counts.toString(), "--experts", "4");
        assertThat(layer.path("layer_3").path("max_vio_global").asDouble()).isEqualTo(2);
        assertThat(layer.path("layer_3").path("dead_experts").asInt()).isEqualTo(2);
    }

    @ParameterizedTest
    @ValueSource(strings = {"compare", "replay", "sweep"})
    void everyCommandExplainsItself(String command) {
        assertThat(Run.good("balance", command, "--help").out()).contains("Usage: panamoe balance " + command);
    }

    @ParameterizedTest
    @CsvSource(delimiter = '|', textBlock = """
            2 | balance                                                | Missing required subcommand
            2 | balance juggle                                         | juggle
            1 | balance compare --input nowhere.safetensors            | nowhere.safetensors: no such file
            1 | balance compare --input synthetic:experts=0            | experts is 0, not an integer from 1
            1 | balance compare --method magic                         | magic: there is none of this name
            1 | balance compare --groups 9/8                           | do not fit each other
            1 | balance compare --batch 0                              | batches of 0
            1 | balance compare --threads 0                            | --threads 0
            1 | balance compare --ranks 7                              | 64 experts cannot be spread over 7 ranks
            2 | balance compare --seeds one                            | --seeds
            1 | balance replay --method sign --warm-up 99              | nothing to measure
            2 | balance sweep --output x                               | --config
            1 | balance sweep --config nowhere.json --output x         | nowhere.json: no such file
            """)
    void mistakesAreOneLine(int code, String line, String named) {
        assertThat(Run.refusal(code, line.split(" +"))).contains(named);
    }
}
