package org.panamoe.lab.routing;

import java.util.Optional;
import org.panamoe.backend.GroupLimitedTopK;

/** What was chosen when the trace was recorded; the one method that needs no scores. */
final class AsRecorded implements Balancer {
    AsRecorded(GroupLimitedTopK rule, Parameters parameters, Optional<float[]> recorded) {}

    @Override
    public boolean needsScores() {
        return false;
    }

    @Override
    public void route(Batch batch, Choices choices) {
        choices.takeRecorded(batch);
    }
}
