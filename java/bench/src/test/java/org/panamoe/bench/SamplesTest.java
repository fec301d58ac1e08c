package org.panamoe.bench;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.data.Offset.offset;

import java.util.List;
import java.util.SplittableRandom;
import java.util.stream.DoubleStream;
import org.junit.jupiter.api.Test;

class SamplesTest {
    @Test
    void ofFewTheIntervalIsAllOfThem() {
        var samples = new Samples(List.of(3.0, 1.0, 2.0));
        assertThat(samples.median()).isEqualTo(2);
        assertThat(samples.low()).isEqualTo(1);
        assertThat(samples.high()).isEqualTo(3);
        assertThat(new Samples(List.of(1.0, 2.0)).median()).isEqualTo(1.5);
        assertThatThrownBy(() -> new Samples(List.of())).hasMessage("no samples");
    }

    /** Samples of a skewed distribution whose median is ln 2: it lies in 95 % of the intervals, or somewhat more often. */
    @Test
    void theIntervalHoldsTheMedianAsOftenAsItSays() {
        var random = new SplittableRandom(1);
        for (int n : new int[] {9, 30, 101}) {
            int right = 0, rounds = 4000;
            for (int i = 0; i < rounds; i++) {
                var samples = new Samples(DoubleStream.generate(() -> -Math.log(1 - random.nextDouble()))
                        .limit(n)
                        .boxed()
                        .toList());
                if (samples.low() <= Math.log(2) && Math.log(2) <= samples.high()) right++;
            }
            assertThat((double) right / rounds).as("of %d samples", n).isCloseTo(0.965, offset(0.02));
        }
    }
}
