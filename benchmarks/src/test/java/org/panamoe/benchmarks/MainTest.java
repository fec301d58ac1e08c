package org.panamoe.benchmarks;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.within;

import com.google.common.math.Quantiles;
import java.io.ByteArrayOutputStream;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.stream.StreamSupport;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.openjdk.jmh.runner.options.CommandLineOptions;
import org.panamoe.bench.Machine;
import tools.jackson.databind.JsonNode;
import tools.jackson.databind.ObjectMapper;

/** Real runs, without a fork and as short as they can be. */
class MainTest {
    private static final String[] SHORT = {"-f", "0", "-wi", "0", "-r", "20ms"};

    @BeforeAll
    static void besideOthers() {
        System.setProperty("jmh.ignoreLock", "true");
    }

    @TempDir
    Path folder;

    @Test
    void everyResultHasTheMachineAndItsLoad() throws Exception {
        var file = folder.resolve("result.json");
        var output = run(
                "CallOverhead.*java|RouteBenchmark",
                "-i",
                "1",
                "-p",
                "rule=V3",
                "-p",
                "tokens=1,2",
                "-rf",
                "json",
                "-rff",
                file.toString());
        var results = new ObjectMapper().readTree(file);
        assertThat(results.size()).isEqualTo(3); // a route of one token and one of two, and a call
        for (var result : results) {
            var machine = result.path("machine");
            assertThat(machine.path("cpu").asString()).isEqualTo(Machine.read().cpu());
            assertThat(machine.path("backend").asString()).startsWith("backend=cpu compiler=");
            assertThat(machine.path("stolen").isNumber()).isTrue();
            assertThat(machine.path("load_average_before").isNumber()).isTrue();
            assertThat(machine.path("load_average_after").isNumber()).isTrue();
        }
        assertThat(output.lines().filter(line -> line.startsWith("# Machine: ")))
                .hasSize(3);
        assertThat(output.lines().filter(line -> line.matches("# Load average: .* after .*, stolen: .* %")))
                .hasSize(3);
    }

    /** The same numbers as JMH's, which the file has, in other units: also where JMH is asked for others. */
    @Test
    void theSummaryIsOfJmhsNumbers() throws Exception {
        for (String unit : new String[] {"s", "us"}) {
            var file = folder.resolve(unit + ".json");
            var output = run(
                    "RouteBenchmark",
                    "-i",
                    "3",
                    "-p",
                    "tokens=64",
                    "-p",
                    "rule=V3",
                    "-tu",
                    unit,
                    "-rf",
                    "json",
                    "-rff",
                    file.toString());
            var result = new ObjectMapper().readTree(file).get(0);
            double perSecond = unit.equals("s") ? 1 : 1e6;
            double score = median(result.path("primaryMetric").path("rawData")) * perSecond;
            double rate = median(result.path("secondaryMetrics").path("GB").path("rawData")) * perSecond;
            String[] words = output.lines()
                    .filter(line -> line.matches("RouteBenchmark.route .*rule=V3.*"))
                    .reduce((_, last) -> last)
                    .orElseThrow()
                    .split("\\s+", -1);
            double scale = words[2].equals("us") ? 1e-6 : words[2].equals("ms") ? 1e-3 : Double.NaN;
            // Three digits are shown.
            assertThat(Double.parseDouble(words[1]) * scale * score).isCloseTo(1, within(0.006));
            assertThat(Double.parseDouble(words[9])).isCloseTo(rate, within(0.06 * rate));
        }
    }

    /** JMH would call it a failure, with a stack trace. */
    @Test
    void absentBaselinesAreToldAndNotBegun() throws Exception {
        var file = folder.resolve("result.json");
        var output = run(
                "GemmBaseline",
                "-i",
                "1",
                "-p",
                "shape=V2_LITE",
                "-p",
                "matrix=kv_a_proj_with_mqa",
                "-p",
                "rows=1",
                "-p",
                "caches=HOT",
                "-rf",
                "json",
                "-rff",
                file.toString());
        var begun = StreamSupport.stream(new ObjectMapper().readTree(file).spliterator(), false)
                .map(result ->
                        Baseline.valueOf(result.path("params").path("baseline").asString()))
                .toList();
        for (var baseline : Baseline.values()) {
            var reason = baseline.absence();
            assertThat(begun.contains(baseline)).as("%s begun", baseline).isEqualTo(reason.isEmpty());
            reason.ifPresent(why -> assertThat(output).contains("\n%s is absent: %s\n".formatted(baseline, why)));
        }
        assertThat(begun).contains(Baseline.REFERENCE, Baseline.C);
    }

    @Test
    void whatIsNotThereIsSaid() throws Exception {
        var before = System.err;
        var error = new ByteArrayOutputStream();
        System.setErr(new PrintStream(error, true, StandardCharsets.UTF_8));
        try {
            assertThat(Main.run(new CommandLineOptions("NoSuchBenchmark"))).isEqualTo(1);
        } finally {
            System.setErr(before);
        }
        assertThat(error.toString(StandardCharsets.UTF_8).strip())
                .isEqualTo("no benchmark matches [NoSuchBenchmark]; -l lists them");
    }

    private static double median(JsonNode forks) {
        return Quantiles.median()
                .compute(StreamSupport.stream(forks.get(0).spliterator(), false)
                        .map(JsonNode::asDouble)
                        .toList());
    }

    private String run(String... args) throws Exception {
        var file = folder.resolve("output.txt");
        var all = new ArrayList<>(List.of(SHORT));
        all.addAll(List.of(args));
        all.addAll(List.of("-o", file.toString()));
        assertThat(Main.run(new CommandLineOptions(all.toArray(String[]::new)))).isZero();
        return Files.readString(file);
    }
}
