package org.panamoe.cli;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.data.Offset.offset;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import tools.jackson.databind.JsonNode;
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
    void tellsWhereAStepGoes() {
        assertThat(run("--profile").out())
                .contains("Where a step of decode 1 at 0 goes, threads ", "\ngrouped_swiglu 8 x 2 x 1408 x 2048 ")
                .containsPattern("\noutside the kernels +[0-9.]+ +[0-9.]+ %\nA call that has nothing to do takes ");
        assertThat(run("--profile", "--format", "markdown").out())
                .contains("| function | calls | us | of the step |\n| --- | ---: | ---: | ---: |\n")
                .containsPattern("\\| mla_attention \\| 2 \\| [0-9.]+ \\| [0-9.]+ % \\|");
        assertThat(run("--profile", "--format", "csv").out().lines().findFirst())
                .hasValueSatisfying(head -> assertThat(head)
                        .contains(",seconds gemm 512 x 2048,", ",seconds outside the kernels")
                        .doesNotContain("profile"));
        String[] prefill = {"--shape", "v2-lite", "--experts", "8", "--vocab", "512", "--rounds", "2", "--seconds", "0"
        };
        var args = new ArrayList<>(List.of("bench", "prefill", "--prompt", "3", "--profile"));
        args.addAll(List.of(prefill));
        var result = Run.json(args.toArray(String[]::new)).path("results").path(0);
        assertThat(result.path("empty_call_seconds").asDouble()).isPositive();
        double share = 0, seconds = 0;
        for (var part : result.path("profile")) {
            assertThat(part.path("seconds").asDouble()).isPositive();
            share += part.path("share").asDouble();
            seconds += part.path("seconds").asDouble();
        }
        assertThat(share).isCloseTo(1, offset(1e-9));
        assertThat(seconds).isCloseTo(Math.min(sample(result, 0), sample(result, 1)), offset(1e-9));
        var argmax = result.path("profile")
                .valueStream()
                .filter(part -> part.path("function").asString().equals("argmax"));
        assertThat(argmax)
                .singleElement()
                .satisfies(part -> assertThat(part.path("calls").asDouble()).isEqualTo(1));
        assertThat(Run.json(SMALL).path("results").path(0).has("profile")).isFalse();
    }

    private static double sample(JsonNode result, int i) {
        return result.path("samples").path(i).asDouble();
    }

    private static void samples(ObjectNode result, int count, double seconds) {
        var samples = result.putArray("samples");
        for (int i = 0; i < count; i++) samples.add(seconds);
    }

    @Test
    void comparesReports() throws IOException {
        Path first = folder.resolve("a.json"), other = folder.resolve("b.json"), broken = folder.resolve("c.json");
        assertThat(run("--output", first.toString(), "--json").out()).isEmpty();
        var report = (ObjectNode) JsonMapper.shared().readTree(Files.readAllBytes(first));
        var result = (ObjectNode) report.path("results").path(0);
        double seconds = result.path("samples").path(0).asDouble();
        samples(result, 5, 1.2 * seconds);
        Files.writeString(other, report.toString());
        var few = Run.of("bench", "compare", first.toString(), other.toString());
        assertThat(few.code()).isZero();
        assertThat(few.out()).contains("too few samples");
        samples(result, 6, 1.2 * seconds);
        Files.writeString(other, report.toString());
        samples(result, 6, seconds);
        Files.writeString(first, report.toString());
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

    @Test
    void measuresKernels() throws IOException {
        String[] few = {"--shape", "v2-lite", "--functions", "gemm,mla_attention,add", "--rows", "1,3", "--depth", "70"
        };
        // More threads than this machine has cores, each instruction set that is asked for.
        var table = kernels(few, "--weights", "int8", "--threads", "1,3", "--isa", "generic");
        assertThat(table.out())
                .contains("gemm int8 2816 x 2048, 3 rows, hot", "mla_attention 16 heads x 512 + 64, 1 row at 70, hot")
                .contains("isa=generic");
        assertThat(table.out().lines()).hasSize(2 + 2 * 6);
        assertThat(kernels(few, "--format", "markdown").out()).contains("| add 2048, 3 rows, hot |");
        Path file = folder.resolve("kernels.json");
        assertThat(kernels(few, "--json", "--output", file.toString()).out()).isEmpty();
        var same = Run.good("bench", "compare", file.toString(), file.toString());
        assertThat(same.out()).contains("gemm shape=v2-lite sizes=2816 x 2048 weights=fp8 rows=3", "calls/s");
        assertThat(same.out().lines()).hasSize(4 * 2 + 2 + 2);
    }

    @Test
    void reportsOnOnePage() throws IOException {
        Path file = folder.resolve("kernels.json"), page = folder.resolve("page.html");
        String[] few = {"--shape", "v2-lite", "--functions", "gemm", "--weights", "bf16", "--rows", "1,2"};
        kernels(few, "--json", "--output", file.toString());
        var run = Run.good("bench", "report", file.toString(), "--output", page.toString());
        assertThat(run.out()).isEqualTo(page + "\n");
        assertThat(Files.readString(page)).contains("Roofline, ", "gemm over rows", "Machine: " + file);
        assertThat(Run.refusal(2, "bench", "report", "--output", page.toString()))
                .contains("FILE.json");
        assertThat(Run.refusal(2, "bench", "report", file.toString())).contains("--output");
        assertThat(Run.refusal(1, "bench", "report", "none.json", "--output", page.toString()))
                .contains("none.json: no such file or folder");
        Files.writeString(file, "{\"results\": []}");
        assertThat(Run.refusal(1, "bench", "report", file.toString(), "--output", page.toString()))
                .contains("kernels.json: not a report of bench: it has no results");
    }

    private static Run kernels(String[] few, String... more) {
        var args = new ArrayList<>(List.of("bench", "kernels", "--rounds", "1", "--seconds", "0", "--caches", "hot"));
        args.addAll(List.of(few));
        args.addAll(List.of(more));
        return Run.good(args.toArray(String[]::new));
    }

    @Test
    void refusesKernelsThatItCannotMeasure() {
        assertThat(Run.refusal(2, "bench", "kernels", "--functions", "add,gem"))
                .contains("function gem: there are rms_norm, gemm, grouped_gemm");
        assertThat(Run.refusal(2, "bench", "kernels", "--rows", "8,0")).contains("--rows 0: not in [1, 65536]");
        assertThat(Run.refusal(2, "bench", "kernels", "--depth", "0")).contains("--depth 0: not in [1, 163840]");
        assertThat(Run.refusal(2, "bench", "kernels", "--shape", "v9")).contains("shape v9: there are v3");
        assertThat(Run.refusal(2, "bench", "kernels", "--weights", "int3")).contains("weights int3: there are");
        assertThat(Run.refusal(2, "bench", "kernels", "--caches", "warm")).contains("caches warm: there are cold");
        assertThat(Run.refusal(2, "bench", "kernels", "--threads", "2000")).contains("not in [0, 1024]");
        assertThat(Run.refusal(1, "bench", "kernels", "--isa", "sse", "--functions", "add"))
                .contains("isa", "sse");
        assertThat(Run.refusal(1, "bench", "kernels", "--functions", "mla_attention", "--rows", "65536"))
                .matches("panamoe: the inputs of these kernels need [0-9.]+ GB, [0-9.]+ GB are available");
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
        refused("shape v9: there are v3, v2-lite and kimi-k2", "--shape", "v9");
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
