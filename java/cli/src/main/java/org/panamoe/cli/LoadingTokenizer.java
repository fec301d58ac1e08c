package org.panamoe.cli;

import java.nio.file.Path;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.FutureTask;
import org.panamoe.text.Tokenizer;

/** A tokenizer that loads while the model does: each takes a good part of the time before the first token. */
final class LoadingTokenizer implements AutoCloseable {
    private final FutureTask<Tokenizer> task;

    LoadingTokenizer(Path folder) {
        task = new FutureTask<>(() -> Tokenizer.open(folder));
        Thread.ofPlatform().daemon().name("tokenizer").start(task);
    }

    Tokenizer get() {
        try {
            return task.get();
        } catch (ExecutionException e) {
            if (e.getCause() instanceof RuntimeException reason) throw reason;
            if (e.getCause() instanceof Error reason) throw reason;
            throw new AssertionError(e); // Tokenizer.open throws nothing else
        } catch (InterruptedException e) {
            throw new IllegalStateException("interrupted", e);
        }
    }

    @Override
    public void close() {
        try {
            task.get().close();
        } catch (ExecutionException e) {
            // There is none to close; who called get() knows why.
        } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
        }
    }
}
