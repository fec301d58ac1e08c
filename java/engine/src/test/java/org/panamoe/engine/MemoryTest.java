package org.panamoe.engine;

import static org.assertj.core.api.Assertions.assertThat;

import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Set;
import org.junit.jupiter.api.Test;
import org.panamoe.backend.Variant;
import org.panamoe.checkpoint.Checkpoint;
import org.panamoe.checkpoint.Golden;
import org.panamoe.model.Model;

final class MemoryTest {
    /** 100 runs that leaked their mapping would leave 500 MB, their latent cache 50 MB. Threads are counted elsewhere. */
    private static final long FLAT = 40L << 20;

    @Test
    void openGenerateCloseLeavesNothing() throws Exception {
        for (int i = 0; i < 30; i++) run();
        long before = residentBytes();
        for (int i = 0; i < 100; i++) run();
        assertThat(residentBytes() - before).isLessThan(FLAT);
    }

    private static void run() {
        try (var kernels = new Variant("cpu", "threads=2").open()) {
            try (var checkpoint = Checkpoint.open(Golden.folder("v3-tiny-mtp"));
                    var model = Model.load(checkpoint, kernels);
                    var engine = new Engine(model, 64)) {
                engine.add(new Request(new int[] {3, 1, 4, 1, 5}, 8, Set.of(), Sampling.greedy(), 2));
                while (engine.step()) {}
                assertThat(kernels.allocated()).isPositive();
            }
            assertThat(kernels.allocated()).isZero();
        }
    }

    private static long residentBytes() throws Exception {
        System.gc();
        var fields = Files.readString(Path.of("/proc/self/statm")).split(" ", -1);
        return Long.parseLong(fields[1]) * 4096;
    }
}
