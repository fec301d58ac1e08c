package org.panamoe.jcuda;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

final class CudaTest {
    @TempDir
    private Path folder;

    /** Looks, and says nothing. */
    static final class Looks {
        public static void main(String[] args) {
            if (Cuda.probe() == null) throw new AssertionError();
        }
    }

    @Test
    void thisMachineHasDevicesOrAReason() {
        switch (Cuda.probe()) {
            case Cuda.Present(var devices) -> {
                assertThat(devices).isNotEmpty();
                for (var device : devices) {
                    assertThat(device.name()).isNotBlank();
                    assertThat(device.multiprocessors()).isPositive();
                    assertThat(device.memoryBytes()).isGreaterThan(1 << 28);
                    assertThat(device.driverVersion()).isGreaterThan(10_000);
                }
            }
            case Cuda.Absent(var reason) -> {
                assertThat(reason).isNotBlank().doesNotContain("\n");
                assertThatThrownBy(Cuda::require)
                        .isInstanceOf(IllegalStateException.class)
                        .hasMessageStartingWith("CUDA: ");
                assertThatThrownBy(() -> CudaStream.open(0))
                        .isInstanceOf(IllegalStateException.class)
                        .hasMessage("CUDA: " + reason);
            }
        }
    }

    @Test
    void withoutALibraryThereIsNoDriver() throws IOException {
        Files.writeString(folder.resolve("libcuda.so.1"), "not one"); // hides a real one
        assertThat(FakeDriver.probe(folder, ""))
                .isEqualTo(new Cuda.Absent("no NVIDIA driver: libcuda.so.1 cannot be loaded"));
    }

    @Test
    void looksQuietlyAndLeavesNothing() throws IOException, InterruptedException {
        var log = folder.resolve("classes.txt");
        var temporary = Files.createDirectory(folder.resolve("tmp"));
        var options =
                List.of("-Xlog:class+load=info:file=" + log, "-Djava.io.tmpdir=" + temporary, "-cp", Jvm.CLASS_PATH);
        assertThat(Jvm.run(Map.of(), options, Looks.class)).isEmpty();
        var loaded = Files.readString(log);
        assertThat(loaded).contains(" org.panamoe.jcuda.ProbeProcess ");
        assertThat(loaded)
                .doesNotContain(" jcuda.", "org.panamoe.jcuda.Probe ", " java.net.Socket ", " sun.nio.ch.Net ");
        assertThat(temporary).isEmptyDirectory();
    }
}
