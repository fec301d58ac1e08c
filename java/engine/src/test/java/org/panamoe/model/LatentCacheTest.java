package org.panamoe.model;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.panamoe.backend.Variant;
import org.panamoe.checkpoint.Checkpoint;
import org.panamoe.checkpoint.Micro;

final class LatentCacheTest {
    /** A context of 100 takes two pages of 64, but its rope's table ends at 100. */
    @Test
    void roomEndsWithTheContextNotWithThePage(@TempDir Path folder) throws IOException {
        Micro.write(folder);
        Files.writeString(
                folder.resolve("config.json"),
                Micro.CONFIG.replace("\"max_position_embeddings\": 256", "\"max_position_embeddings\": 100"));
        try (var kernels = new Variant("cpu", "threads=1").open();
                var checkpoint = Checkpoint.open(folder);
                var model = Model.load(checkpoint, kernels);
                var cache = new LatentCache(model, 256)) {
            var slot = cache.open();
            assertThat(cache.reserve(slot, 100)).isTrue();
            assertThat(cache.freePositions()).isEqualTo(128);
            model.forward(Batch.of(slot, new int[2], 0), cache);
            assertThatThrownBy(() -> model.forward(Batch.of(slot, new int[108], 0), cache))
                    .isExactlyInstanceOf(IllegalArgumentException.class)
                    .hasMessage("row for position 109, the slot has room for 100");
            model.forward(Batch.of(slot, new int[98], 0), cache);
            assertThat(slot.length()).isEqualTo(100);
        }
    }
}
