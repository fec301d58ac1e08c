package org.panamoe.engine;

import java.util.List;
import org.panamoe.model.Batch;

/** One step's rows, and for each span whose they are. */
record Turn(Batch batch, List<Generation> generations) {}
