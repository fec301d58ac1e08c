package org.panamoe.engine;

import static org.assertj.core.api.Assertions.assertThat;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Set;
import java.util.stream.IntStream;
import org.junit.jupiter.api.Test;
import org.panamoe.Jvm;
import org.panamoe.backend.Variant;
import org.panamoe.checkpoint.Checkpoint;
import org.panamoe.checkpoint.Golden;
import org.panamoe.model.Model;

/** In a JVM whose heap is all there from the start, so that resident memory grows by native memory alone. */
final class MemoryTest {
    /**
     * A hundred runs that leaked their mapping would leave 400 MB; what malloc keeps and the JVM compiles meanwhile is
     * up to 20. The back end's memory, with the latent cache, is counted to the byte in each run; threads elsewhere.
     */
    private static final long FLAT = 60L << 20;

    @Test
    void openGenerateCloseLeavesNothing() throws Exception {
        new Variant("cpu", "threads=2").open().close(); // or skip
        var grown = Jvm.run(
                List.of(
                        "-Xms64m",
                        "-Xmx64m",
                        "-XX:+AlwaysPreTouch",
                        "-XX:+UseSerialGC",
                        "--enable-native-access=ALL-UNNAMED",
                        "-Dpanamoe.root=" + Golden.root(),
                        "--class-path=" + System.getProperty("java.class.path")),
                Hundred.class);
        assertThat(Long.parseLong(grown.strip())).as("resident bytes").isLessThan(FLAT);
    }

    /** Prints by how much resident memory grows over a hundred runs. */
    static final class Hundred {
        public static void main(String[] args) throws IOException {
            for (int warm = 0; warm < 30; warm++) run();
            long before = residentBytes();
            for (int i = 0; i < 100; i++) run();
            System.out.println(residentBytes() - before);
        }
    }

    /** Enough different tokens that nearly all experts are read. */
    private static void run() {
        int[] prompt = IntStream.range(0, 60).toArray();
        try (var kernels = new Variant("cpu", "threads=2").open()) {
            try (var checkpoint = Checkpoint.open(Golden.folder("v3-tiny-mtp"));
                    var model = Model.load(checkpoint, kernels);
                    var engine = new Engine(model, 64)) {
                engine.add(new Request(prompt, 4, Set.of(), Sampling.greedy(), 2));
                while (engine.step()) {}
                assertThat(kernels.allocated()).isPositive();
            }
            assertThat(kernels.allocated()).isZero();
        }
    }

    private static long residentBytes() throws IOException {
        var fields = Files.readString(Path.of("/proc/self/statm")).split(" ", -1);
        return Long.parseLong(fields[1]) * 4096;
    }
}
