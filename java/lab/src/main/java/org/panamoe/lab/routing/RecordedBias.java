package org.panamoe.lab.routing;

import java.util.Optional;
import org.panamoe.backend.GroupLimitedTopK;

/** The bias that the model itself had learnt when the trace was recorded, kept as it is: {@code TopK(s + b)}. */
final class RecordedBias implements Balancer {
    private final float[] bias_E;

    RecordedBias(GroupLimitedTopK rule, Parameters parameters, Optional<float[]> recorded) {
        bias_E = recorded.orElseThrow(() -> parameters.wrong("the trace has no bias"));
    }

    @Override
    public void route(Batch batch, Choices choices) {
        choices.takeBest(batch, bias_E);
    }

    @Override
    public float[] bias() {
        return bias_E.clone();
    }
}
