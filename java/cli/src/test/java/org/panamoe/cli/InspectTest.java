package org.panamoe.cli;

import static org.assertj.core.api.Assertions.assertThat;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.panamoe.bench.Machine;
import org.panamoe.checkpoint.ModelConfig;
import org.panamoe.jcuda.Device;
import org.panamoe.model.StepMemory;
import tools.jackson.databind.JsonNode;
import tools.jackson.databind.node.JsonNodeFactory;
import tools.jackson.databind.node.ObjectNode;

class InspectTest {
    @TempDir
    private Path folder;

    /** By the model's own card: 5.08 M stored parameters of which MTP's copies of embedding and head are 0.79 M. */
    @Test
    void countsTheEmbeddedModel() throws IOException {
        var report = Run.json("inspect");
        var parameters = report.path("parameters");
        long distinct =
                parameters.path("total").asLong() + parameters.path("mtp").asLong();
        assertThat(distinct).isBetween(4_285_000L, 4_295_000L);
        long stored = distinct + 2 * 2048 * 192;
        // BF16, but for the correction bias of 16 experts in 4 layers
        assertThat(report.path("bytes").path("total").asLong()).isEqualTo(2 * stored + 2 * 16 * 4);
        assertThat(sumOfKinds(report))
                .isEqualTo(report.path("bytes").path("total").asLong());
        assertThat(report.path("latent_cache_bytes_per_token").asLong()).isEqualTo(5 * (64 + 16) * 4);
        assertThat(report.path("architecture").path("n_routed_experts").asInt()).isEqualTo(16);
        assertThat(report.path("weights").asBoolean()).isTrue();
        var forecast = report.path("forecast").get(0);
        assertThat(forecast.path("context").asInt()).isEqualTo(512);
        long step = forecast.path("step_bytes").asLong();
        assertThat(forecast.path("memory_bytes").asLong() - step).isEqualTo(2 * stored + 2 * 16 * 4 + 512 * 5 * 80 * 4);
        int threads = Runtime.getRuntime().availableProcessors();
        assertThat(step)
                .isEqualTo(
                        StepMemory.of(ModelConfig.parse(ModelOption.embedded())).bytes(256, 2, 512, threads));
    }

    @Test
    void aConfigAloneGivesTheSameSizes() throws IOException {
        Files.copy(ModelOption.embedded().resolve("config.json"), folder.resolve("config.json"));
        var whole = Run.json("inspect");
        var alone = Run.json("inspect", "--model", folder.toString());
        assertThat(alone.path("weights").asBoolean()).isFalse();
        for (String part : new String[] {"architecture", "parameters", "bytes", "forecast", "bytes_read_per_token"})
            assertThat(alone.path(part)).as(part).isEqualTo(whole.path(part));
        assertThat(Run.good("inspect", "--model", folder.toString()).out()).contains("no weights here");
    }

    @Test
    void printsLines() {
        var run = Run.good("inspect");
        assertThat(run.out()).contains("tiny-v3", "4 of 16", "parameters", "forecast");
        assertThat(run.err()).isEmpty();
    }

    @Test
    void theDoctorNamesBackEndsAndMeasures() {
        var report = Run.json("doctor");
        assertThat(report.path("jdk").asString()).startsWith("25");
        assertThat(report.path("backends").path("cpu").asString()).startsWith("backend=cpu");
        assertThat(report.path("backends").path("reference").asString()).startsWith("backend=reference");
        assertThat(report.path("backends").path("cuda").asString()).startsWith("absent: ");
        assertThat(report.path("memory_bytes_per_second").asDouble()).isGreaterThan(1e8);
        var generic = report.path("instruction_sets").path("generic");
        assertThat(generic.path("usable").asBoolean()).isTrue();
        assertThat(generic.path("fma_flops_per_second").asDouble()).isGreaterThan(1e8);
        for (JsonNode set : report.path("instruction_sets").values())
            assertThat(set.path("usable").asBoolean() || set.path("reason").isString())
                    .isTrue();
        var cuda = report.path("cuda");
        assertThat(cuda.path("devices").isEmpty()).isEqualTo(cuda.path("reason").isString());
        // No time to measure twice: the lines are made from the same report.
        assertThat(DoctorCommand.lines((ObjectNode) report).toString())
                .contains("JDK", "reference", "GFLOP/s", "devices")
                .contains(cuda.path("reason").asString(""));
    }

    @Test
    void theDoctorNamesDevices() {
        var report = JsonNodeFactory.instance.objectNode();
        var devices = report.putObject("cuda").putArray("devices");
        DoctorCommand.device(
                new Device(
                        0,
                        "NVIDIA H200",
                        9,
                        0,
                        132,
                        150_754_820_096L,
                        1_980_000,
                        3_201_000,
                        12080,
                        "0000:0f:00.0",
                        "u"),
                devices.addObject());
        DoctorCommand.device(
                new Device(1, "GRID", 8, 6, 10, 1 << 30, 0, 0, 13000, "0000:10:00.0", "v"), devices.addObject());
        assertThat(DoctorCommand.lines(report).toString().lines())
                .contains(
                        "  0             NVIDIA H200, compute capability 9.0, 132 SMs at 1980 MHz, 151 GB at 3201 MHz,"
                                + " driver for CUDA 12.8, 0000:0f:00.0",
                        "  1             GRID, compute capability 8.6, 10 SMs, 1.07 GB, driver for CUDA 13.0, 0000:10:00.0");
        assertThat(devices.get(0).path("uuid").asString()).isEqualTo("u");
    }

    @Test
    void cpuFlagsMayStandFarApartAndTwice() {
        assertThat(Machine.words(" avx2 fma        avx2  f16c\t")).containsExactlyInAnyOrder("avx2", "fma", "f16c");
        assertThat(Machine.words(" ")).isEmpty();
    }

    private static long sumOfKinds(JsonNode report) {
        long sum = -report.path("bytes").path("total").asLong();
        for (var bytes : report.path("bytes").values()) sum += bytes.asLong();
        return sum;
    }
}
