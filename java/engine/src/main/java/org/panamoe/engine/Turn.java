package org.panamoe.engine;

import java.util.ArrayList;
import java.util.List;
import org.panamoe.model.Batch;

/** One step's rows, and for each span whose they are; filled anew for each step. */
final class Turn {
    final Batch batch = new Batch();
    final List<Generation> generations = new ArrayList<>();

    void clear() {
        batch.clear();
        generations.clear();
    }
}
