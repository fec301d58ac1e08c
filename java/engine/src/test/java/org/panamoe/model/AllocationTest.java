package org.panamoe.model;

import static org.assertj.core.api.Assertions.assertThat;

import java.lang.management.ManagementFactory;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;
import org.panamoe.backend.Backend;
import org.panamoe.checkpoint.Checkpoint;
import org.panamoe.checkpoint.Golden;

/** A step of decoding leaves no garbage behind that would grow with layers, experts or depth. */
final class AllocationTest {
    /** What a step says of its rows and what it gives are four small objects; one more for each of the layers shows. */
    private static final long MOST_BYTES = 160;

    /** Measured again while the compiler is at work, which takes most objects away that never leave their method. */
    private static final int ROUNDS = 1000;

    private static final int STEPS = 20;

    private static final com.sun.management.ThreadMXBean THREADS =
            (com.sun.management.ThreadMXBean) ManagementFactory.getThreadMXBean();

    @ParameterizedTest
    @ValueSource(ints = {1, 3})
    void aStepLikeTheOneBeforeAllocatesNextToNothing(int T) {
        try (var checkpoint = Checkpoint.open(Golden.folder("v3-tiny-fp8"));
                var kernels = Backend.require("cpu", "threads=1");
                var model = Model.load(checkpoint, kernels);
                var cache = new LatentCache(model, 64)) {
            var slot = cache.open();
            cache.reserve(slot, 64);
            var batch = Batch.of(slot, new int[T], T);
            long least = Long.MAX_VALUE;
            for (int round = 0; round < ROUNDS && least > MOST_BYTES; round++) {
                long before = THREADS.getCurrentThreadAllocatedBytes();
                for (int step = 0; step < STEPS; step++) {
                    model.forward(batch, cache);
                    cache.truncate(slot, 0);
                }
                least = Math.min(least, (THREADS.getCurrentThreadAllocatedBytes() - before) / STEPS);
            }
            assertThat(least).as("bytes that a step of %d rows allocates", T).isLessThanOrEqualTo(MOST_BYTES);
        }
    }
}
