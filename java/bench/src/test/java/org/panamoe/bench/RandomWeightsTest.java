package org.panamoe.bench;

import static java.lang.foreign.ValueLayout.JAVA_BYTE;
import static org.assertj.core.api.Assertions.assertThat;

import java.lang.foreign.Arena;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;
import org.panamoe.backend.Backend;
import org.panamoe.tensor.DType;
import org.panamoe.tensor.QuantFormat;
import org.panamoe.tensor.Tensor;

class RandomWeightsTest {
    /** 9 x 131 elements: in no format a multiple of eight bytes, with ragged blocks. */
    @ParameterizedTest
    @EnumSource
    void haveBothSignsAndTheSizeOfTrainedOnes(QuantFormat format) {
        try (var reference = Backend.require("reference");
                var arena = Arena.ofConfined()) {
            var w_FD = new RandomWeights(7).weight(arena, format, 9, 131);
            // The unit matrix times w reads w.
            var x_TD = Tensor.allocate(arena, DType.F32, 131, 131);
            for (int d = 0; d < 131; d++) x_TD.setFloat(d * 131 + d, 1);
            var y_TF = Tensor.allocate(arena, DType.F32, 131, 9);
            reference.gemm(y_TF, x_TD, w_FD);
            double squares = 0;
            int negative = 0;
            for (int i = 0; i < 9 * 131; i++) {
                squares += Math.pow(y_TF.getFloat(i), 2);
                if (y_TF.getFloat(i) < 0) negative++;
            }
            // A trained matrix of width 7168: about 1 / sqrt(7168) = 0.012.
            assertThat(Math.sqrt(squares / (9 * 131))).isBetween(0.004, 0.03);
            assertThat(negative).isBetween(9 * 131 * 4 / 10, 9 * 131 * 6 / 10);
        }
    }

    @ParameterizedTest
    @EnumSource
    void aSeedGivesTheSameWeights(QuantFormat format) {
        try (var arena = Arena.ofConfined()) {
            var one = new RandomWeights(7).weight(arena, format, 9, 131);
            var same = new RandomWeights(7).weight(arena, format, 9, 131);
            var other = new RandomWeights(8).weight(arena, format, 9, 131);
            assertThat(one.data().data.toArray(JAVA_BYTE))
                    .isEqualTo(same.data().data.toArray(JAVA_BYTE));
            assertThat(one.data().data.toArray(JAVA_BYTE))
                    .isNotEqualTo(other.data().data.toArray(JAVA_BYTE));
        }
    }
}
