package org.panamoe.benchmarks;

import java.util.concurrent.ExecutionException;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.stream.IntStream;

/** Columns of a result, one strip of them for each thread: for products that know nothing of threads. */
final class Strips implements AutoCloseable {
    interface Body {
        void columns(int from, int to);
    }

    private final int threads;
    private final ExecutorService pool;

    Strips(int threads) {
        this.threads = threads;
        pool = Executors.newFixedThreadPool(threads);
    }

    int threads() {
        return threads;
    }

    /** Returns when all strips are done. */
    void each(int F, Body body) {
        var strips = IntStream.range(0, threads)
                .mapToObj(i -> Executors.callable(
                        () -> body.columns((int) ((long) F * i / threads), (int) ((long) F * (i + 1) / threads))))
                .toList();
        try {
            for (var strip : pool.invokeAll(strips)) strip.get();
        } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
            throw new IllegalStateException("interrupted", e);
        } catch (ExecutionException e) {
            throw new IllegalStateException(e.getCause());
        }
    }

    @Override
    public void close() {
        pool.close();
    }
}
