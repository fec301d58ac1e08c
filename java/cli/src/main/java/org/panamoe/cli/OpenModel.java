package org.panamoe.cli;

import java.nio.file.Path;
import org.panamoe.backend.Kernels;
import org.panamoe.checkpoint.Checkpoint;
import org.panamoe.model.Model;

/** A model with what it stands on. */
record OpenModel(Checkpoint checkpoint, Kernels kernels, Model model) implements AutoCloseable {
    static OpenModel open(Path folder, BackendOption backend) {
        var checkpoint = Checkpoint.open(folder);
        try {
            var kernels = backend.open();
            try {
                return new OpenModel(checkpoint, kernels, Model.load(checkpoint, kernels));
            } catch (RuntimeException | Error e) {
                kernels.close();
                throw e;
            }
        } catch (RuntimeException | Error e) {
            checkpoint.close();
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
    }
}
