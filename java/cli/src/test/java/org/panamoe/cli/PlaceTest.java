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
import tools.jackson.databind.JsonNode;
import tools.jackson.databind.json.JsonMapper;

/** balance place, balance cost, balance report and cost. */
class PlaceTest {
    private static final Path GOLDEN = Path.of(
            System.getProperty("panamoe.root"), "java", "lab", "src", "test", "resources", "eplb", "golden.json");
    private static final JsonMapper JSON = new JsonMapper();
    private static final String STREAM = "synthetic:layers=2,tokens=16384,experts=16,chosen=2";

    @TempDir
    private Path folder;

    /** Each golden case as a file of its own, as other programs would give it. */
    @Test
    void placesAsEplb() throws IOException {
        var cases = JSON.readTree(GOLDEN).path("cases");
        assertThat(cases.size()).isEqualTo(11);
        for (JsonNode golden : cases) {
            var given = JSON.createObjectNode();
            for (String key : new String[] {"weight", "num_replicas", "num_groups", "num_nodes", "num_gpus"})
                given.set(key, golden.path(key));
            var file = Files.writeString(folder.resolve("case.json"), given.toString());
            var placed = Run.json("balance", "place", "--input", file.toString());
            String name = golden.path("name").asString();
            assertThat(placed.propertyNames())
                    .as(name)
                    .containsExactly("phy2log", "log2phy", "logcnt", "gpu_max_over_mean");
            assertThat(placed.path("phy2log")).as(name).isEqualTo(golden.path("phy2log_stable"));
            assertThat(placed.path("log2phy")).as(name).isEqualTo(golden.path("log2phy_stable"));
            assertThat(placed.path("logcnt")).as(name).isEqualTo(golden.path("logcnt"));
            var expected = golden.path("gpu_max_over_mean_stable");
            for (int layer = 0; layer < expected.size(); layer++)
                assertThat(placed.path("gpu_max_over_mean").get(layer).asDouble())
                        .as(name)
                        .isCloseTo(expected.get(layer).asDouble(), within(1.5e-6)); // six decimals of 32-bit sums
        }
    }

    @Test
    void theSearchIsNeverWorse() throws IOException {
        String table =
                Run.good("balance", "place", "--input", GOLDEN.toString()).out();
        assertThat(table).startsWith("case").contains("r10_zipf", "mean of 22 layers");
        for (JsonNode golden : JSON.readTree(GOLDEN).path("cases")) {
            String name = golden.path("name").asString();
            var placed =
                    Run.json("balance", "place", "--input", GOLDEN.toString(), "--case", name, "--policy", "SEARCH");
            var eplb = golden.path("gpu_max_over_mean_stable");
            for (int layer = 0; layer < eplb.size(); layer++)
                assertThat(placed.path("gpu_max_over_mean").get(layer).asDouble())
                        .as("%s, layer %d", name, layer)
                        .isLessThanOrEqualTo(eplb.get(layer).asDouble() + 1.5e-6);
        }
    }

    @ParameterizedTest
    @CsvSource({
        "'{\"weight\": [[1, 2, 3]], \"num_replicas\": 4, \"num_groups\": 1, \"num_nodes\": 1, \"num_gpus\": 3}', num_gpus: 3 does not divide num_replicas 4",
        "'{\"weight\": [[1, NaN]], \"num_replicas\": 2, \"num_groups\": 1, \"num_nodes\": 1, \"num_gpus\": 1}', 'weight[0][1]: NaN'",
        "'{\"weight\": [[1, -1]], \"num_replicas\": 2, \"num_groups\": 1, \"num_nodes\": 1, \"num_gpus\": 1}', 'weight[0][1]: -1.0'",
        "'{\"weight\": [[1,', 'line 1, column'",
    })
    void badCasesAreRefusedInOneLine(String json, String problem) throws IOException {
        var file = Files.writeString(folder.resolve("case.json"), json);
        assertThat(Run.refusal(1, "balance", "place", "--input", file.toString(), "--json"))
                .contains("case.json")
                .contains(problem);
    }

    @Test
    void saysWhatIsMissing() {
        assertThat(Run.refusal(1, "balance", "place", "--input", GOLDEN.toString(), "--json"))
                .contains("has 11: --case says which");
        assertThat(Run.refusal(1, "balance", "place", "--input", GOLDEN.toString(), "--case", "none"))
                .contains("--case none", "readme");
        assertThat(Run.refusal(1, "balance", "place", "--input", "nowhere.json"))
                .contains("nowhere.json");
        assertThat(Run.refusal(1, "balance", "cost")).contains("--input TRACE or --case CASE.json");
        assertThat(Run.refusal(1, "balance", "cost", "--input", STREAM, "--gpu", "H20"))
                .contains("H20");
        assertThat(Run.refusal(1, "balance", "cost", "--input", STREAM, "--gpus", "3", "--replicas", "20"))
                .contains("num_gpus: 3");
        assertThat(Run.refusal(1, "balance", "cost", "--input", STREAM, "--interval", "0"))
                .contains("interval: 0");
        assertThat(Run.refusal(1, "balance", "cost", "--input", STREAM, "--efficiency", "2"))
                .contains("efficiency: 2.0");
        assertThat(Run.refusal(
                        1,
                        "balance",
                        "report",
                        "--output",
                        folder.resolve("p.html").toString()))
                .contains("nothing to report");
        assertThat(Run.refusal(1, "cost", "--mfu", "40")).contains("mfu: 40.0 is not in (0, 1]");
    }

    @Test
    void answersFromATrace() {
        var answer = Run.json("balance", "cost", "--input", STREAM, "--step", "1024", "--interval", "4");
        assertThat(answer.path("persistence").asDouble()).isBetween(0.5, 1.0); // one router, one stream
        assertThat(answer.path("predicted_max_over_mean").asDouble())
                .isLessThan(answer.path("max_over_mean").asDouble());
        assertThat(answer.path("recorded").path("tokens").asDouble()).isEqualTo(1024);
        assertThat(answer.path("hindsight").asBoolean()).isFalse();
        assertThat(answer.path("recorded").path("dollars_per_million_tokens").isNumber())
                .isTrue();
        // Without a price there is no money, and with one there is.
        var h200 = Run.json("balance", "cost", "--input", STREAM, "--step", "1024", "--gpu", "h200");
        assertThat(h200.path("recorded").path("dollars_per_million_tokens").isNull())
                .isTrue();
        var priced = Run.json("balance", "cost", "--input", STREAM, "--step", "1024", "--gpu", "h200", "--price", "3");
        assertThat(priced.path("recorded").path("dollars_per_million_tokens").isNumber())
                .isTrue();
    }

    @Test
    void accountsAreThePublishedOnes() throws IOException {
        var accounts = Run.json("cost");
        assertThat(value(accounts, "training", "total", "GPU hours")).isCloseTo(2788e3, within(0.5e3));
        assertThat(value(accounts, "training", "total", "$")).isCloseTo(5.576e6, within(0.5e3));
        assertThat(value(accounts, "serving", "a day", "$")).isEqualTo(87_072);
        assertThat(Run.good("cost").out()).contains("2,788,223 GPU hours", "as reported");
        // A small model, by its config alone: what was reported of another does not count.
        var small = Run.json("cost", "--model", ModelOption.embedded().toString());
        assertThat(value(small, "training", "context extension", "GPU hours")).isZero();
    }

    private static double value(JsonNode accounts, String account, String name, String unit) {
        for (JsonNode line : accounts.path(account))
            if (line.path("name").asString().equals(name)
                    && line.path("unit").asString().equals(unit))
                return line.path("value").asDouble();
        throw new AssertionError("no line " + name + " in " + unit);
    }

    @Test
    void onePageHasItAll() throws IOException {
        String results = folder.resolve("r.jsonl").toString(),
                page = folder.resolve("page.html").toString();
        Run.good(
                "balance",
                "compare",
                "--input",
                STREAM,
                "--seeds",
                "1,2",
                "--output",
                results,
                "--method",
                "none",
                "--method",
                "sign:rate=0.01");
        Run.good(
                "balance",
                "report",
                "--output",
                page,
                "--results",
                results,
                "--input",
                STREAM,
                "--accounts",
                "--title",
                "<b>mine</b>");
        String html = Files.readString(Path.of(page));
        assertThat(html.contains("<h1>&lt;b&gt;mine&lt;/b&gt;</h1>")).isTrue();
        for (String part : new String[] {
            "The methods",
            "Imbalance over time",
            "What balance costs",
            "Load of experts: none",
            "Load of GPUs before and after",
            "Imbalance of GPUs, step by step",
            "What placing by load saves",
            "In money",
            "Training DeepSeek-V3",
            "<dt>Seed</dt><dd>1, 2</dd>",
            "panamoe balance report --output"
        }) assertThat(html.contains(part)).as(part).isTrue();
    }
}
