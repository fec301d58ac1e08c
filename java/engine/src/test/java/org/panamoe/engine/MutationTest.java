package org.panamoe.engine;

import static org.assertj.core.api.Assertions.assertThat;

import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Set;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.panamoe.backend.Kernels;
import org.panamoe.backend.Variant;
import org.panamoe.checkpoint.Checkpoint;
import org.panamoe.checkpoint.CheckpointException;
import org.panamoe.checkpoint.Micro;
import org.panamoe.model.Model;

/** Damaged checkpoints are refused by name, or compute something; they never take the JVM down. */
final class MutationTest {
    private static final int MUTATIONS = Boolean.getBoolean("panamoe.full") ? 5000 : 300;

    @TempDir
    Path folder;

    @Test
    void damagedCheckpointsGenerateOrSayWhy() throws Exception {
        Path sound = Files.createDirectory(folder.resolve("sound"));
        Path copy = Files.createDirectory(folder.resolve("copy"));
        Micro.write(sound);
        int refused = 0, ran = 0;
        try (var kernels = new Variant("cpu", "threads=2").open()) {
            for (int seed = 0; seed < MUTATIONS; seed++) {
                String how = Micro.mutate(sound, copy, seed);
                try {
                    generate(kernels, copy);
                    ran++;
                } catch (CheckpointException e) {
                    refused++;
                } catch (RuntimeException | Error e) {
                    throw new AssertionError(how, e);
                }
                assertThat(kernels.allocated()).as(how).isZero();
            }
        }
        assertThat(ran).isGreaterThan(MUTATIONS / 20);
        assertThat(refused).isGreaterThan(MUTATIONS / 2);
    }

    private static void generate(Kernels kernels, Path folder) {
        try (var checkpoint = Checkpoint.open(folder);
                var model = Model.load(checkpoint, kernels)) {
            int context = Math.min(12, model.config().maxPositionEmbeddings());
            if (context < 2) return;
            int drafts = model.mtp().isPresent() ? 2 : 0;
            try (var engine = new Engine(model, context)) {
                engine.add(new Request(new int[] {0}, 8, Set.of(), Sampling.greedy(), drafts));
                while (engine.step()) {}
            }
        }
    }
}
