package org.panamoe.model;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.within;

import java.lang.foreign.Arena;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.panamoe.backend.Backend;
import org.panamoe.checkpoint.Golden;
import org.panamoe.checkpoint.ModelConfig.Yarn;

final class RotaryTest {
    /** Tables of Hugging Face's DeepSeek-V3, up to position 163839. */
    @ParameterizedTest
    @CsvSource({"v3, 1, 1", "v2lite, 0.707, 0.707", "uneven, 1, 0.707", "plain, 0, 0"})
    void agreesWithTheGolden(String name, float mscale, float mscaleAllDim) throws Exception {
        var yarn = name.equals("plain") ? null : new Yarn(40, 4096, 32, 1, mscale, mscaleAllDim);
        var rotary = new Rotary(Configs.rotary(yarn));
        try (var arena = Arena.ofConfined();
                var kernels = Backend.require("reference")) {
            var units = Golden.tensors("units", arena);
            assertThat(rotary.softmaxScale)
                    .isCloseTo(units.tensor("rope." + name + ".softmax_scale").getFloat(0), within(1e-8f));
            float[] frequency_Z = Golden.floats(units.tensor("rope." + name + ".inv_freq"));
            for (int z = 0; z < 32; z++)
                // Java's and torch's pow may differ in the last bit.
                assertThat(rotary.frequency_Z[z]).isCloseTo(frequency_Z[z], within(frequency_Z[z] * 2.4e-7f));

            try (var tables = Arena.ofShared()) {
                var rope = rotary.tables(kernels, tables, 163840);
                int[] positions = Golden.ints(units.tensor("rope.positions"));
                float[] cos = Golden.floats(units.tensor("rope." + name + ".cos"));
                float[] sin = Golden.floats(units.tensor("rope." + name + ".sin"));
                for (int i = 0; i < positions.length; i++)
                    for (int z = 0; z < 32; z++) {
                        // A frequency that is off by its last bit turns the angle by position * frequency * 2^-23.
                        float tolerance = 2e-7f + positions[i] * frequency_Z[z] * 2.4e-7f;
                        long at = (long) positions[i] * 32 + z;
                        assertThat(rope.cos_SZ().getFloat(at)).isCloseTo(cos[i * 32 + z], within(tolerance));
                        assertThat(rope.sin_SZ().getFloat(at)).isCloseTo(sin[i * 32 + z], within(tolerance));
                    }
            }
        }
    }

    /** The ramp ends at pair 42 of 32, which is allowed up to 63: cut to 31, it would be steeper. */
    @Test
    void theRampMayEndBehindTheLastPair() {
        // 64 * ln(2^20 / (2 pi beta)) / (2 * ln(10000)) is 12.88 and 41.78.
        assertRamp(new Yarn(40, 1 << 20, 4096, 1, 1, 1), 12, 42);
        // 65.86
        assertRamp(new Yarn(40, 1 << 30, 4194304, 1, 1, 1), 12, 63);
    }

    private static void assertRamp(Yarn yarn, int low, int high) {
        float[] frequency_Z = new Rotary(Configs.rotary(yarn)).frequency_Z;
        for (int z = 0; z < 32; z++) {
            double fast = Math.pow(10000, -2 * z / 64.0);
            double ramp = Math.clamp((z - low) / (double) (high - low), 0, 1);
            double expected = fast / 40 * ramp + fast * (1 - ramp);
            assertThat((double) frequency_Z[z]).as("pair %d", z).isCloseTo(expected, within(expected * 1e-6));
        }
    }

    /** Both ends of the ramp are pair 0: it alone turns as trained. */
    @Test
    void aRampWithoutLength() {
        float[] frequency_Z = new Rotary(Configs.rotary(new Yarn(40, 100, 32, 16, 1, 1))).frequency_Z;
        float[] plain_Z = new Rotary(Configs.rotary(null)).frequency_Z;
        assertThat(frequency_Z[0]).isEqualTo(plain_Z[0]);
        for (int z = 1; z < 32; z++) assertThat(frequency_Z[z]).isCloseTo(plain_Z[z] / 40, within(plain_Z[z] * 1e-8f));
    }

    @Test
    void factorOneIsPlain() {
        var yarn = new Rotary(Configs.rotary(new Yarn(1, 4096, 32, 1, 1, 1)));
        var plain = new Rotary(Configs.rotary(null));
        for (int z = 0; z < 32; z++)
            // The two parts of the ramp are rounded apart.
            assertThat(yarn.frequency_Z[z]).isCloseTo(plain.frequency_Z[z], within(plain.frequency_Z[z] * 2.4e-7f));
        assertThat(yarn.gain).isEqualTo(1);
        assertThat(yarn.softmaxScale).isEqualTo(plain.softmaxScale);
    }

    /** 0 is as if absent: 1 for mscale, no correction for mscale_all_dim. */
    @Test
    void mscaleZeroIsOne() {
        var plain = new Rotary(Configs.rotary(null));
        for (float all : new float[] {0, 1, 0.707f}) {
            var zero = new Rotary(Configs.rotary(new Yarn(40, 4096, 32, 1, 0, all)));
            var one = new Rotary(Configs.rotary(new Yarn(40, 4096, 32, 1, 1, all)));
            assertThat(zero.gain).isEqualTo(one.gain);
            assertThat(zero.softmaxScale).isEqualTo(one.softmaxScale);
            if (all == 0) {
                assertThat(zero.gain).isEqualTo((float) (0.1 * Math.log(40) + 1));
                assertThat(zero.softmaxScale).isEqualTo(plain.softmaxScale);
            }
        }
    }
}
