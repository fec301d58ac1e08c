package org.panamoe.lab.placement;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.panamoe.lab.routing.Input;

class RebalancingTest {
    /** A made-up stream: counts are tokens times K, and placements change at the interval alone. */
    @Test
    void placesAtEachInterval() {
        try (var trace = new Input("synthetic:experts=16,chosen=4,groups=4,kept=2,tokens=20480,layers=2", "")
                .open(Input.Sizes.UNKNOWN)) {
            var history = LoadHistory.of(trace, 1024);
            for (float[][] step : history.count)
                for (float[] count_E : step) {
                    float sum = 0;
                    for (float n : count_E) sum += n;
                    assertThat(sum).isEqualTo(1024 * 4);
                }
            var machines = new PlacementCase("m", history.count[0], 20, 4, 2, 4);
            List<Placement> seen = new ArrayList<>();
            new Rebalancing(new Eplb(), 5, 2).run(history, machines, (step, placement, moves) -> {
                if (step % 5 != 0) assertThat(placement).isSameAs(seen.getLast());
                if (step % 5 != 0) assertThat(moves).isZero();
                seen.add(placement);
            });
            assertThat(seen).hasSize(history.steps());
        }
    }

    @Test
    void badNumbersAreNamed() {
        assertThatThrownBy(() -> new Rebalancing(new Eplb(), 0, 1)).hasMessage("interval: 0 is not above 0");
        assertThatThrownBy(() -> new Rebalancing(new Eplb(), 1, -1)).hasMessage("window: -1 is not above 0");
        assertThatThrownBy(() -> new LocalSearch(Double.NaN))
                .hasMessage("tolerance: NaN is not a finite number from 0");
    }
}
