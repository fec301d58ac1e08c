package org.panamoe.lab.routing;

import java.util.List;
import java.util.Optional;
import org.panamoe.backend.GroupLimitedTopK;

/** The same trace by another rule: other groups, or none. Closing it closes the trace. */
record Regrouped(Trace trace, GroupLimitedTopK rule) implements Trace {
    @Override
    public String name() {
        return trace.name();
    }

    @Override
    public List<Integer> layers() {
        return trace.layers();
    }

    @Override
    public boolean hasScores() {
        return trace.hasScores();
    }

    @Override
    public boolean hasChoices() {
        return trace.hasChoices();
    }

    @Override
    public Optional<float[]> bias(int layer) {
        return trace.bias(layer);
    }

    @Override
    public Reader read(int layer, long seed) {
        return trace.read(layer, seed);
    }

    @Override
    public void close() {
        trace.close();
    }
}
