package org.panamoe.checkpoint;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.within;

import java.util.List;
import org.assertj.core.data.Percentage;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;
import org.panamoe.checkpoint.ModelConfig.TopkMethod;
import org.panamoe.checkpoint.ModelConfig.Yarn;
import org.panamoe.checkpoint.TensorSpec.Kind;
import org.panamoe.tensor.DType;

class FootprintTest {
    /**
     * Active ones within one unit of the last published digit, totals within 1 %; but Kimi K2's report says 1.04T, and its
     * config adds up to 1.026T (384 experts x 3 x 2048 x 7168 x 60 layers are 1.015T of it).
     */
    @ParameterizedTest
    @CsvSource({
        "deepseek-ai--DeepSeek-V3,        671e9, 1,    37e9, 1e9",
        "deepseek-ai--DeepSeek-R1,        671e9, 1,    37e9, 1e9",
        "deepseek-ai--DeepSeek-V2-Lite,  15.7e9, 1,   2.4e9, 0.1e9",
        "moonshotai--Kimi-K2-Instruct,  1.04e12, 1.4,  32e9, 1e9",
    })
    void countsWhatIsPublished(String model, double total, double percent, double active, double unit) {
        var config = ModelConfig.parse(Golden.shared("data/configs/hf/" + model + "_config.json"));
        check(Footprint.of(config, DType.BF16), total, percent, active, unit);
    }

    /** V2's sizes as its report gives them: 236B, 21B active. */
    @Test
    void countsV2() {
        var v2 = new ModelConfig(
                "deepseek_v2",
                102400,
                5120,
                60,
                0,
                1,
                1,
                12288,
                1536,
                160,
                2,
                6,
                8,
                3,
                TopkMethod.GROUP_LIMITED_GREEDY,
                false,
                16,
                128,
                1536,
                512,
                128,
                64,
                128,
                1e-6f,
                10000,
                new Yarn(40, 4096, 32, 1, 0.707f, 0.707f),
                163840,
                false,
                100000,
                List.of(100001),
                null);
        check(Footprint.of(v2, DType.BF16), 236e9, 1, 21e9, 1e9);
    }

    private static void check(Footprint f, double total, double percent, double active, double unit) {
        assertThat((double) f.parameters()).isCloseTo(total, Percentage.withPercentage(percent));
        assertThat((double) f.activeParameters()).isCloseTo(active, within(unit));
    }

    /** V3 by hand: 576 values a position and layer, 61 layers and one of the MTP module. */
    @Test
    void v3InBytes() {
        var f = Footprint.of(
                ModelConfig.parse(Golden.shared("data/configs/hf/deepseek-ai--DeepSeek-V3_config.json")), DType.BF16);
        assertThat(f.latentBytes()).isEqualTo(576 * 4);
        assertThat(f.cacheBytesPerPosition()).isEqualTo(576L * 4 * 62);
        assertThat(f.bytesPerToken(1000) - f.bytesPerToken(0)).isEqualTo(576L * 4 * 61 * 1000);
        assertThat(f.memory(1000) - f.memory(0)).isEqualTo(576L * 4 * 62 * 1000);
        // One expert: three matrices of 2048 x 7168 codes and 16 x 56 scales.
        long expert = 3 * (2048L * 7168 + 16 * 56 * 4);
        assertThat(f.bytes().get(Kind.ROUTED_EXPERT)).isEqualTo(58 * 256 * expert);
        assertThat(f.bytes().get(Kind.SHARED_EXPERT)).isEqualTo(58 * expert);
        assertThat(f.bytes().get(Kind.ROUTER)).isEqualTo(58 * (256L * 7168 * 2 + 256 * 4));
        assertThat(f.bytes().get(Kind.HEAD)).isEqualTo(129280L * 7168 * 2);
    }

    /** What is forecast from the config is what lies there, and every byte has a kind. */
    @ParameterizedTest
    @ValueSource(strings = {"v3-tiny-fp8", "v3-tiny-mtp", "v3-tiny-yarn", "v2-lite-tiny", "v2-group-tiny"})
    void forecastIsWhatLiesThere(String variant) {
        try (var checkpoint = Checkpoint.open(Golden.folder(variant))) {
            var f = Footprint.of(checkpoint);
            assertThat(f).isEqualTo(Footprint.of(checkpoint.config(), DType.BF16));
            assertThat(f.weightBytes()).isEqualTo(checkpoint.bytes());
        }
    }

    /** Counted once more, one tensor after the other. */
    @Test
    void activeBytesOfATinyModel() {
        try (var checkpoint = Checkpoint.open(Golden.folder("v3-tiny-mtp"))) {
            long main = 0, draft = 0;
            for (var spec : TensorSpec.of(checkpoint.config())) {
                long bytes = checkpoint.weight(spec.name()).bytes();
                long read = switch (spec.kind()) {
                    case EMBEDDING -> bytes / 512;
                    case ROUTED_EXPERT -> bytes / 16 * 4;
                    default -> bytes;
                };
                if (spec.mtp()) draft += read;
                else main += read;
            }
            var f = Footprint.of(checkpoint);
            assertThat(f.bytesPerToken(0)).isEqualTo(main);
            // The module's copies stand for the main model's embedding and head, which a draft reads.
            assertThat(f.draftBytes()).isEqualTo(draft);
        }
    }
}
