package org.panamoe.model;

import static org.assertj.core.api.Assertions.assertThat;

import java.lang.management.ManagementFactory;
import java.util.Set;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;
import org.panamoe.backend.Backend;
import org.panamoe.checkpoint.Checkpoint;
import org.panamoe.checkpoint.Golden;
import org.panamoe.engine.Engine;
import org.panamoe.engine.Request;
import org.panamoe.engine.Sampling;

/** A step of decoding leaves no garbage behind that would grow with layers, experts or depth. */
final class AllocationTest {
    /** What a step says of its rows and what it gives are four small objects; one more for each of the layers shows. */
    private static final long MOST_BYTES = 160;

    /** Of each run of the MTP module: it has now one row, now another number. */
    private static final long MOST_BYTES_OF_A_DRAFT = 100;

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

    /** A whole step: what the engine decides, the model, and the module once for each draft. */
    @ParameterizedTest
    @ValueSource(ints = {0, 1, 3})
    void aStepWithDraftsAllocatesNextToNothing(int drafts) {
        long most = MOST_BYTES + MOST_BYTES_OF_A_DRAFT * drafts;
        // The trained one: its drafts fall and stand, so that runs of the module have few rows and many.
        try (var checkpoint = Checkpoint.open(Golden.trained());
                var kernels = Backend.require("cpu", "threads=1");
                var model = Model.load(checkpoint, kernels);
                var engine = new Engine(model, 128)) {
            int tokens = (STEPS + 1) * (1 + drafts) + 1; // the end is not reached
            long least = Long.MAX_VALUE;
            for (int round = 0; round < ROUNDS && least > most; round++) {
                var generation =
                        engine.add(new Request(new int[] {0, 54, 85}, tokens, Set.of(1), Sampling.greedy(), drafts));
                engine.step();
                long before = THREADS.getCurrentThreadAllocatedBytes();
                for (int step = 0; step < STEPS; step++) engine.step();
                least = Math.min(least, (THREADS.getCurrentThreadAllocatedBytes() - before) / STEPS);
                assertThat(generation.steps()).isEqualTo(1 + STEPS);
                if (drafts > 0) assertThat(generation.accepted()[0]).isBetween(1, STEPS - 1);
                generation.cancel();
            }
            assertThat(least)
                    .as("bytes that a step with %d drafts allocates", drafts)
                    .isLessThanOrEqualTo(most);
        }
    }
}
