package org.panamoe.checkpoint;

import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.Callable;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;

/** Threads that share pieces of one task. */
final class Workers implements AutoCloseable {
    final int threads;
    private final ExecutorService pool;

    Workers(int threads) {
        this.threads = threads;
        pool = Executors.newFixedThreadPool(threads);
    }

    /** The pieces' results, in their order. After the first failure, which is thrown, no other piece begins. */
    <T> List<T> all(List<? extends Callable<T>> pieces) {
        var futures = new ArrayList<Future<T>>();
        for (var piece : pieces) futures.add(pool.submit(piece));
        var results = new ArrayList<T>();
        try {
            for (var future : futures) results.add(future.get());
            return results;
        } catch (ExecutionException e) {
            switch (e.getCause()) {
                case RuntimeException cause -> throw cause;
                case Error cause -> throw cause;
                case null, default -> throw new IllegalStateException(e.getCause());
            }
        } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
            throw new IllegalStateException("interrupted", e);
        } finally {
            if (results.size() < pieces.size()) close();
        }
    }

    /** Waits for what runs. */
    @Override
    public void close() {
        pool.shutdownNow();
        pool.close();
    }
}
