package org.panamoe.lab.cost;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.within;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import java.nio.file.Files;
import java.nio.file.Path;
import org.junit.jupiter.api.Test;
import org.panamoe.checkpoint.Footprint;
import org.panamoe.checkpoint.ModelConfig;
import org.panamoe.tensor.DType;

/** Published figures, each to the last digit that was published. */
class AccountsTest {
    private static final TrainingCost V3 = TrainingCost.deepSeekV3();

    @Test
    void deepSeekV3TookItsHours() {
        assertThat(Math.round(V3.pretrainingHours() / 1e3)).isEqualTo(2664);
        assertThat(Math.round(V3.hours() / 1e3)).isEqualTo(2788);
        assertThat(V3.hours() * 2).isCloseTo(5.576e6, within(0.5e3));
        assertThat(V3.pretrainingHours() / 14.8).isCloseTo(180e3, within(0.5e3));
        assertThat(V3.pretrainingHours() / 14.8 / 2048 / 24).isCloseTo(3.7, within(0.05));
    }

    @Test
    void itsTokensTakeTheirOperations() {
        assertThat(3 * TokenFlops.forward(DeepSeekV3.CONFIG, 4096, false)).isCloseTo(2.5045e11, within(0.5e8));
        assertThat(V3.flopsPerToken()).isCloseTo(2.606e11, within(0.5e8));
    }

    /** Counted from the shapes of the tensors, norms included there. */
    @Test
    void weightsAreThoseOfTheCheckpoint() {
        var footprint = Footprint.of(DeepSeekV3.CONFIG, DType.BF16);
        double ours = TokenFlops.activeWeights(DeepSeekV3.CONFIG);
        assertThat(ours).isLessThanOrEqualTo((double) footprint.activeParameters());
        assertThat(ours).isCloseTo((double) footprint.activeParameters(), within(2e6)); // norms and the correction bias
    }

    /** The published config.json says the same, where it is at hand. */
    @Test
    void theModelIsThePublishedOne() {
        var file = Path.of(
                System.getProperty("panamoe.root"),
                "..",
                "shared",
                "data",
                "configs",
                "hf",
                "deepseek-ai--DeepSeek-V3_config.json");
        assumeTrue(Files.exists(file), () -> file + " is absent");
        assertThat(DeepSeekV3.CONFIG).isEqualTo(ModelConfig.parse(file));
    }

    @Test
    void aDayOfServing() {
        var day = ServingCost.deepSeekDay();
        assertThat(day.cost()).isEqualTo(87_072);
        assertThat(day.inputCost()).isCloseTo(0.060, within(0.0005));
        assertThat(day.outputCost()).isCloseTo(0.300, within(0.0005));
        assertThat(day.cost() / day.outputTokens() * 1e6).isCloseTo(0.52, within(0.005));
        assertThat(day.revenue()).isCloseTo(562_027, within(100.0)); // published; the share of hits is rounded
        assertThat((day.revenue() - day.cost()) / day.cost()).isCloseTo(5.45, within(0.005));
    }

    @Test
    void distillationIsThreeOrdersCheaper() {
        var distillation = DistillationCost.r1Students();
        var small = distillation.students().getFirst();
        var large = distillation.students().getLast();
        assertThat(distillation.teacher()).isCloseTo(1.44e3, within(2.0));
        assertThat(distillation.hours(small)).isCloseTo(307, within(0.5));
        assertThat(distillation.hours(large)).isCloseTo(1314, within(0.5));
        assertThat(V3.pretrainingHours() * 2 / distillation.cost(large)).isBetween(1e3, 1e4);
        assertThat(distillation.breakEvenTokens(small, 0.3, 0.1))
                .isCloseTo(distillation.cost(small) / 0.2 * 1e6, within(1.0));
        assertThat(distillation.breakEvenTokens(small, 0.1, 0.3)).isInfinite();
    }

    @Test
    void everyLineHasAFormula() {
        assertThat(V3.lines())
                .hasSizeGreaterThan(10)
                .allMatch(line -> !line.formula().isEmpty());
        assertThat(ServingCost.deepSeekDay().lines())
                .allMatch(line -> !line.formula().isEmpty());
        assertThat(DistillationCost.r1Students().lines(V3))
                .allMatch(line -> !line.formula().isEmpty());
    }

    @Test
    void badNumbersAreNamed() {
        assertThatThrownBy(() -> new TrainingCost(DeepSeekV3.CONFIG, Gpu.H800, 1e12, 4096, 40, 0, 0, 1, 1))
                .hasMessage("mfu: 40.0 is not in (0, 1]");
        assertThatThrownBy(() -> new TrainingCost(DeepSeekV3.CONFIG, Gpu.H800, Double.NaN, 4096, 0.4, 0, 0, 1, 1))
                .hasMessage("tokens: NaN is not a finite number above 0");
        assertThatThrownBy(() -> Gpu.preset("H20")).hasMessage("GPU H20: is none of [H800, H200, B200]");
        assertThatThrownBy(() -> Gpu.H800.at(-1)).hasMessage("H800: price: -1.0 is no price");
    }
}
