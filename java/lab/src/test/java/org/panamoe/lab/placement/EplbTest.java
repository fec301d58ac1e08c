package org.panamoe.lab.placement;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.within;

import java.io.IOException;
import java.util.Arrays;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;

class EplbTest {
    static Stream<Golden> golden() throws IOException {
        return Golden.all();
    }

    @Test
    void allCasesAreThere() throws IOException {
        assertThat(golden()).hasSize(11);
    }

    @ParameterizedTest
    @MethodSource("golden")
    void isGolden(Golden golden) {
        var placement = new Eplb().place(golden.given());
        assertThat(golden.given().isHierarchical() ? "hierarchical" : "global")
                .isEqualTo(golden.expected().path("policy").asString());
        assertThat(placement.phy2log).isDeepEqualTo(golden.ints("phy2log_stable"));
        assertThat(placement.logcnt).isDeepEqualTo(golden.ints("logcnt"));
        var log2phy = golden.expected().path("log2phy_stable");
        int most = Arrays.stream(placement.logcnt)
                .flatMapToInt(Arrays::stream)
                .max()
                .orElseThrow();
        for (int layer = 0; layer < placement.log2phy.length; layer++)
            for (int e = 0; e < golden.given().numExperts(); e++) {
                int[] padded = Arrays.copyOf(placement.log2phy[layer][e], most);
                Arrays.fill(padded, placement.logcnt[layer][e], most, -1);
                assertThat(padded)
                        .as("layer %d, expert %d", layer, e)
                        .isEqualTo(Golden.row(log2phy.get(layer).get(e)));
            }
        double[] maxOverMean = placement.maxOverMean(golden.given().weight);
        var expected = golden.expected().path("gpu_max_over_mean_stable");
        assertThat(expected.size()).isEqualTo(maxOverMean.length);
        for (int layer = 0; layer < maxOverMean.length; layer++)
            assertThat(maxOverMean[layer])
                    .isCloseTo(expected.get(layer).asDouble(), within(1.5e-6)); // six decimals there, of 32-bit sums
    }

    /** The example of EPLB's own README. */
    @Test
    void theReadmesExample() throws IOException {
        var golden = golden().findFirst().orElseThrow();
        assertThat(new Eplb().place(golden.given()).phy2log).isDeepEqualTo(golden.ints("readme_expected_phy2log"));
    }
}
