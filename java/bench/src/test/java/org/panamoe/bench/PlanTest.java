package org.panamoe.bench;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.data.Offset.offset;

import java.lang.foreign.Arena;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;
import org.panamoe.checkpoint.Footprint;
import org.panamoe.model.StepMemory;
import org.panamoe.tensor.DType;
import org.panamoe.tensor.QuantFormat;
import tools.jackson.databind.node.ObjectNode;

class PlanTest {
    /** As other engines were measured: 4.10 G parameters, 1.402 G of them active, 1.166 G without the head; 0.457 G and 0.247 G. */
    @Test
    void slicesAreThoseThatOtherEnginesWereGiven() {
        var v3 = new Slice(Shape.V3, 2, 1, 64, Shape.V3.vocab(), QuantFormat.BF16);
        var footprint = Footprint.of(v3.config(), DType.BF16);
        assertThat(footprint.parameters() / 1e9).isCloseTo(4.10, offset(0.005));
        assertThat(footprint.activeParameters() / 1e9).isCloseTo(1.402, offset(0.002));
        assertThat((footprint.activeParameters() - 32768 * 7168) / 1e9).isCloseTo(1.166, offset(0.002));
        var lite = new Slice(Shape.V2_LITE, 3, 1, 64, Shape.V2_LITE.vocab(), QuantFormat.BF16);
        long active = Footprint.of(lite.config(), DType.BF16).activeParameters();
        assertThat(active / 1e9).isCloseTo(0.457, offset(0.001));
        assertThat((active - 102400 * 2048) / 1e9).isCloseTo(0.247, offset(0.001));
    }

    @ParameterizedTest
    @EnumSource
    void publishedModelsHaveTheirPublishedSize(Shape shape) {
        // Layers and vocabularies of config.json. Published: 671 B, 15.7 B, about 1 T.
        var whole = switch (shape) {
            case V3 -> new Slice(shape, 61, 3, 256, 129280, QuantFormat.F8_E4M3_B128);
            case V2_LITE -> new Slice(shape, 27, 1, 64, 102400, QuantFormat.BF16);
            case KIMI_K2 -> new Slice(shape, 61, 1, 384, 163840, QuantFormat.F8_E4M3_B128);
        };
        double published = switch (shape) {
            case V3 -> 671.0;
            case V2_LITE -> 15.7;
            case KIMI_K2 -> 1026;
        };
        assertThat(Footprint.of(whole.config(), DType.BF16).parameters() / 1e9)
                .isCloseTo(published, offset(published / 100));
    }

    /** With one sequence that chooses K experts in each layer, what a step reads is what the footprint says of a token. */
    @Test
    void oneTokenReadsItsFootprint() {
        var config = new Slice(Shape.V3, 3, 1, 64, 1024, QuantFormat.BF16).config();
        var footprint = Footprint.of(config, DType.BF16);
        assertThat(new Work.Decode(1, 99).bytes(config, footprint, 2 * 8))
                .isCloseTo((double) footprint.bytesPerToken(100), offset(1.0));
        double dense = 2.0 * footprint.activeParameters();
        assertThat(new Work.Decode(1, 99).flops(config, footprint) - dense)
                .isCloseTo(3 * 100.0 * 128 * (2 * 576 + 2 * 512), offset(1.0));
        // A prompt sees 1, 2, .. n positions, and its last token alone has logits.
        double head = 2.0 * 1024 * 7168, prefill = new Work.Prefill(1, 100).flops(config, footprint);
        assertThat(prefill)
                .isCloseTo(100 * (dense - head) + head + 3 * 5050.0 * 128 * (2 * 576 + 2 * 512), offset(1e3));
        // Of 300 positions the first 256 are expanded, and 257 to 300 are what the others see.
        assertThat(new Work.Prefill(2, 300).flops(config, footprint))
                .isCloseTo(
                        2 * (300 * (dense - head) + head)
                                + 2 * 3 * 128 * (32896.0 * (2 * 192 + 2 * 128) + 12254.0 * (2 * 576 + 2 * 512)),
                        offset(1e4));
    }

    @Test
    void measuresEveryPointInEveryRound() {
        var slice = new Slice(Shape.V2_LITE, 2, 1, 8, 512, QuantFormat.BF16);
        List<Work> work = List.of(new Work.Decode(3, 70), new Work.Prefill(1, 9));
        var report = new Plan(slice, work, List.of(1), 2, 0, false).run(_ -> {}).json();
        assertThat(report.path("results").size()).isEqualTo(2);
        for (var result : report.path("results")) {
            assertThat(result.path("samples").size()).isEqualTo(2); // a step in each round
            assertThat(result.path("tokens_per_second").asDouble()).isPositive();
            assertThat(result.path("share_of_bandwidth").asDouble()).isPositive();
            assertThat(result.path("share_of_peak").asDouble()).isPositive();
            assertThat(result.path("parameters").asLong())
                    .isEqualTo(Footprint.of(slice.config(), DType.BF16).parameters());
            double median = (result.path("samples").path(0).asDouble()
                            + result.path("samples").path(1).asDouble())
                    / 2;
            assertThat(result.path("tokens_per_second").asDouble() * median)
                    .isCloseTo(result.path("tokens_per_step").asDouble(), offset(1e-6));
        }
        assertThat(report.path("limits").path("threads_1").path("gb_per_second").asDouble())
                .isPositive();
        assertThat(report.path("machine").path("backend").asString()).contains("backend=cpu");

        var itself = Comparison.of(report, report, false);
        assertThat(itself).hasSize(2).allSatisfy(c -> {
            assertThat(c.ratio()).isEqualTo(1);
            assertThat(c.slower(0)).isFalse();
            assertThat(c.verdict()).isEqualTo("too few samples");
        });
        assertThat(Comparison.of(report, scaled(report, 2), false)).allSatisfy(c -> {
            assertThat(c.ratio()).isCloseTo(0.5, offset(1e-9));
            assertThat(c.slower(0.1)).isFalse(); // two samples prove nothing
        });
        var other = report.deepCopy();
        ((ObjectNode) other.path("machine")).put("cpu", "another");
        assertThatThrownBy(() -> Comparison.of(report, other, false))
                .hasMessageContaining("different machines: cpu is");
        assertThat(Comparison.of(report, other, true)).hasSize(2);
    }

    @Test
    void whatDoesNotFitIsRefusedFirst() {
        var slice = new Slice(Shape.KIMI_K2, 61, 1, 384, 163840, QuantFormat.BF16);
        assertThatThrownBy(() -> new Plan(slice, List.of(new Work.Decode(1, 0)), List.of(1), 1, 0, false).run(_ -> {}))
                .isInstanceOf(IllegalStateException.class)
                .hasMessageMatching(
                        "bf16 weights of this slice and its cache need 20[0-9]{2}\\.[0-9] GB, [0-9.]+ GB are available");
    }

    /** Each number of threads has a model of its own: the same weights, its own cache and what a step works in. */
    @Test
    void memoryIsThatOfAllModels() {
        var slice = new Slice(Shape.V3, 2, 1, 16, 512, QuantFormat.BF16);
        List<Work> work = List.of(new Work.Decode(3, 1000), new Work.Prefill(1, 2048));
        long one = new Plan(slice, work, List.of(1), 1, 0, false).memory();
        long both = new Plan(slice, work, List.of(1, 2), 1, 0, false).memory();
        long positions = 3 * (1001 + 64);
        assertThat(both - one)
                .isEqualTo(
                        positions * 2 * 576 * 4 + StepMemory.of(slice.config()).bytes(512, 3, positions, 2));
    }

    /** The expert that a checkpoint of random weights chooses next differs from step to step, as in a model. */
    @Test
    void randomModelsSpreadTheirTokens() {
        var slice = new Slice(Shape.V2_LITE, 2, 1, 32, 512, QuantFormat.BF16);
        try (var arena = Arena.ofShared()) {
            var checkpoint = new RandomWeights(1).checkpoint(arena, slice.config(), slice.format());
            try (var bench = new ModelBench(checkpoint, "cpu", "", false)) {
                bench.begin(new Work.Decode(16, 0));
                assertThat(bench.step().experts()).isBetween(12L, 32L);
            }
        }
    }

    private static ObjectNode scaled(ObjectNode report, double factor) {
        var copy = report.deepCopy();
        for (var result : copy.path("results")) {
            var samples = ((ObjectNode) result).putArray("samples");
            report.path("results").forEach(original -> {
                if (original.path("name").equals(result.path("name"))
                        && original.path("batch").equals(result.path("batch"))
                        && original.path("depth").equals(result.path("depth"))
                        && original.path("threads").equals(result.path("threads")))
                    original.path("samples").forEach(s -> samples.add(s.asDouble() * factor));
            });
        }
        return copy;
    }
}
