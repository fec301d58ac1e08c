package org.panamoe.lab.routing;

import java.util.Optional;
import org.panamoe.backend.GroupLimitedTopK;

/** No balancing: each token takes its K best, {@code TopK(s)}. What every other method is measured against. */
final class Unbalanced implements Balancer {
    Unbalanced(GroupLimitedTopK rule, Parameters parameters, Optional<float[]> recorded) {}

    @Override
    public void route(Batch batch, Choices choices) {
        choices.takeBest(batch);
    }
}
