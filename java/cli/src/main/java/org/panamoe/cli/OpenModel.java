package org.panamoe.cli;

import java.nio.file.Path;
import org.jspecify.annotations.Nullable;
import org.panamoe.backend.Kernels;
import org.panamoe.checkpoint.Checkpoint;
import org.panamoe.model.Model;

/**
 * A model with what it stands on.
 *
 * @param stored the checkpoint as it lies there; {@code checkpoint} may be made of it
 */
record OpenModel(Checkpoint stored, Checkpoint checkpoint, Kernels kernels, Model model) implements AutoCloseable {
    static OpenModel open(Path folder, WeightsOption weights, BackendOption backend, Console console) {
        weights.check(backend);
        var stored = Checkpoint.open(folder);
        var checkpoint = stored;
        @Nullable Kernels kernels = null;
        try {
            kernels = backend.open(); // before what takes long
            checkpoint = weights.of(stored, console);
            weights.preload(checkpoint, console);
            return new OpenModel(stored, checkpoint, kernels, Model.load(checkpoint, kernels));
        } catch (RuntimeException | Error e) {
            if (kernels != null) kernels.close();
            checkpoint.close();
            stored.close();
            throw e;
        }
    }

    /** @throws IllegalArgumentException naming the first token that the model does not know */
    void requireKnown(int[] tokens) {
        int V = model.config().vocabSize();
        for (int token : tokens)
            if (token < 0 || token >= V)
                throw new IllegalArgumentException("token %d: vocab_size is %d".formatted(token, V));
    }

    @Override
    public void close() {
        model.close();
        kernels.close();
        checkpoint.close();
        stored.close();
    }
}
