package org.panamoe.model;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.within;

import java.lang.foreign.Arena;
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
}
