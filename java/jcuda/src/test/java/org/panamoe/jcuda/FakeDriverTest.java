package org.panamoe.jcuda;

import static org.assertj.core.api.Assertions.assertThat;

import java.io.IOException;
import java.nio.file.Path;
import java.util.List;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/** What a driver may answer, or do instead. */
final class FakeDriverTest {
    @TempDir
    private static Path folder;

    @BeforeAll
    static void compile() throws IOException, InterruptedException {
        FakeDriver.compile(folder);
    }

    @Test
    void twoDevices() {
        var expected = new Cuda.Present(List.of(
                new Device(
                        0,
                        "Fake GPU 0",
                        9,
                        0,
                        132,
                        1L << 33,
                        1980000,
                        2619000,
                        12040,
                        "0000:0a:00.0",
                        "GPU-00010203-0405-0607-0809-0a0b0c0d0e0f"),
                new Device(
                        1,
                        "Fake GPU 1",
                        9,
                        0,
                        131,
                        1L << 34,
                        1980000,
                        0, // it does not say
                        12040,
                        "0000:0b:00.0",
                        "GPU-10111213-1415-1617-1819-1a1b1c1d1e1f")));
        assertThat(FakeDriver.probe(folder, "")).isEqualTo(expected);
        assertThat(FakeDriver.probe(folder, "noisy")).isEqualTo(expected);
    }

    @ParameterizedTest
    @CsvSource(delimiter = '|', textBlock = """
            nodevice | cuInit failed with 100 \\(CUDA_ERROR_NO_DEVICE: no CUDA-capable device is detected\\)
            zero     | the NVIDIA driver is here, but has no device
            exit     | the process that looked for devices ended in cuInit with exit code 3
            abort    | the process that looked for devices ended in cuInit with exit code 134 \\(SIGABRT\\).*
            segv     | .* ended in cuInit with exit code \\d+.*: SIGSEGV .*; C +\\[libcuda.so.1\\+0x[0-9a-f]+\\].*
            late     | the process .* ended in JCuda, reading device 0 with exit code 134 \\(SIGABRT\\).*
            hang     | the driver did not answer within 4 s.*
            """)
    void aDriverThatIsNotWell(String mode, String reason) {
        assertThat(FakeDriver.probe(folder, mode))
                .isInstanceOfSatisfying(
                        Cuda.Absent.class, absent -> assertThat(absent.reason()).matches(reason));
    }

    @Test
    void aDriverThatLacksAFunction(@TempDir Path other) throws IOException, InterruptedException {
        FakeDriver.compile(other, "-DLACKING");
        assertThat(FakeDriver.probe(other, ""))
                .isEqualTo(new Cuda.Absent("libcuda.so.1 has no function cuEventRecord, which JCuda needs"));
    }
}
