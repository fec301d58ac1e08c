package org.panamoe.cli;

import static org.assertj.core.api.Assertions.assertThat;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import tools.jackson.databind.json.JsonMapper;
import tools.jackson.databind.node.ObjectNode;

class BenchTest {
    private static final String[] SMALL = {
        "bench", "decode", "--shape", "v2-lite", "--experts", "8", "--vocab", "512", "--rounds", "1", "--seconds", "0"
    };

    @TempDir
    Path folder;

    @Test
    void tellsInEveryFormat() {
        assertThat(run("--depth", "0,70").out()).contains("decode 1 at 70", "of bandwidth");
        assertThat(run("--format", "markdown").out()).contains("| decode 1 at 0 |", "| --- | ---: |");
        assertThat(run("--format", "csv").out())
                .startsWith("name,shape,layers")
                .contains("\ndecode,v2-lite,2,1,8,512,bf16");
        var json =
                JsonMapper.shared().readTree(run("--json", "--weights", "fp8").out());
        assertThat(json.path("results").path(0).path("weights").asString()).isEqualTo("fp8");
    }

    @Test
    void comparesReports() throws IOException {
        Path first = folder.resolve("a.json"), other = folder.resolve("b.json"), broken = folder.resolve("c.json");
        assertThat(run("--output", first.toString(), "--json").out()).isEmpty();
        var report = (ObjectNode) JsonMapper.shared().readTree(Files.readAllBytes(first));
        var result = (ObjectNode) report.path("results").path(0);
        double seconds = result.path("samples").path(0).asDouble();
        result.putArray("samples").add(1.2 * seconds);
        Files.writeString(other, report.toString());
        var same = Run.of("bench", "compare", first.toString(), first.toString());
        assertThat(same.code()).isZero();
        assertThat(same.out()).contains("x 1.000", "no change shown");
        assertThat(Run.of("bench", "compare", first.toString(), other.toString())
                        .code())
                .isEqualTo(1);
        assertThat(Run.of("bench", "compare", first.toString(), other.toString(), "--fail-over", "30%")
                        .code())
                .isZero();
        Files.writeString(broken, "{\"machine\":");
        assertThat(Run.of("bench", "compare", first.toString(), broken.toString())
                        .err())
                .contains("c.json: not JSON");
        assertThat(Run.of("bench", "compare", first.toString(), "none.json").err())
                .contains("none.json: no such file or folder");
    }

    /** Options behind the command's name are that command's. */
    @Test
    void abHandsItsArgumentsOn() {
        Path nobody = folder.resolve("nobody");
        assertThat(Run.refusal(1, "bench", "ab", "--other", nobody.toString(), "decode", "--experts", "8"))
                .contains(nobody.toString())
                .doesNotContain("Unknown option");
    }

    @Test
    void refusesWhatItCannotMeasure() {
        refused("--shape v9: there are v3, v2-lite and kimi-k2", "--shape", "v9");
        refused("weights int3: there are", "--weights", "int3");
        refused("--batch 0: not in [1, 65536]", "--batch", "0");
        refused("--depth -1: not in [0, 163839]", "--depth=-1");
        refused("--threads 2000: not in [0, 1024]", "--threads", "2000");
        refused("--rounds 0: not in [1, 1000]", "--rounds", "0");
        refused("n_routed_experts", "--experts", "-3");
    }

    private static void refused(String message, String... more) {
        var args = new ArrayList<>(List.of("bench", "decode"));
        args.addAll(List.of(more));
        assertThat(Run.refusal(2, args.toArray(String[]::new))).contains(message);
    }

    private static Run run(String... more) {
        var args = new ArrayList<>(List.of(SMALL));
        args.addAll(List.of(more));
        return Run.of(args.toArray(String[]::new));
    }
}
