package org.panamoe.model;

import static org.assertj.core.api.Assertions.assertThat;

import java.util.stream.IntStream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.panamoe.backend.Variant;
import org.panamoe.checkpoint.Checkpoint;
import org.panamoe.checkpoint.Footprint;
import org.panamoe.checkpoint.Golden;
import org.panamoe.checkpoint.ModelConfig;

final class StepMemoryTest {
    /** Never less than the model asks for, and in a step not much more: of the indices some are of sampled rows alone. */
    @ParameterizedTest
    @CsvSource({"v3-tiny-mtp, 70, 3", "v3-tiny-mtp, 1, 1", "v2-lite-tiny, 70, 1", "v2-group-tiny, 9, 9"})
    void isWhatAModelAsksFor(String variant, int rows, int sampled) {
        try (var kernels = new Variant("cpu", "threads=1").open();
                var checkpoint = Checkpoint.open(Golden.folder(variant));
                var model = Model.load(checkpoint, kernels)) {
            var memory = StepMemory.of(checkpoint.config());
            long loaded = kernels.allocated(),
                    offsets = 4L * (checkpoint.config().nRoutedExperts() + 3);
            assertThat(loaded + offsets).isLessThanOrEqualTo(memory.tables());
            try (var cache = new LatentCache(model, 128)) {
                var slot = cache.open();
                cache.reserve(slot, rows);
                int[] tokens = IntStream.range(0, rows).toArray();
                var batch = Batch.of(slot, tokens, sampled);
                var output = model.forward(batch, cache);
                model.mtp().ifPresent(mtp -> mtp.forward(batch, output.hidden_TD(), tokens, cache));
                long latents = 128 * Footprint.of(checkpoint).cacheBytesPerPosition();
                long asked = kernels.allocated() - loaded - latents;
                long forecast = memory.allocated(rows, sampled, 128) - memory.tables() + offsets;
                assertThat(forecast).isBetween(asked, asked * 21 / 20);
            }
        }
    }

    /** V3 by hand. */
    @Test
    void v3InBytes() {
        var m = StepMemory.of(ModelConfig.parse(Golden.shared("data/configs/hf/deepseek-ai--DeepSeek-V3_config.json")));
        assertThat(m.laid()).isEqualTo(8 * 4 * (7168 + 32));
        assertThat(m.products()).isEqualTo(8 * 4 * 7168);
        assertThat(m.thread()).isEqualTo((272 << 10) + 1024 * 4 * (128 + 64 + 128 + 64));
        assertThat(m.position()).isEqualTo(64 * 4 + 1);
        long states = 8 * 7168, queries = 1536 + 128 * (192 + 576), latents = 576, outputs = 128 * (512 + 128);
        long routing = 256 + 4 * 8 + 5, hidden = 18432 + 2048 + 8 * 2048;
        assertThat(m.row()).isEqualTo(4 * (states + queries + latents + outputs + routing + hidden));
        assertThat(m.sampled()).isEqualTo(4 * (2 * 129280 + 7168));
        assertThat(m.tables()).isEqualTo(62 * (16 * (3 * 257 + 1) + 4 * 256) + 4 * (256 + 3));
        assertThat(m.bytes(512, 1, 0, 2) - m.allocated(512, 1, 0)).isEqualTo(2 * (64L << 20) + 2 * m.thread());
        assertThat(m.bytes(1, 1, 0, 2) - m.allocated(1, 1, 0)).isEqualTo(m.laid() + m.products() + 2 * m.thread());
    }
}
