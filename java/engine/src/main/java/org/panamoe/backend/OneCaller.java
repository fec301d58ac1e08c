package org.panamoe.backend;

import java.util.concurrent.atomic.AtomicInteger;
import java.util.concurrent.locks.LockSupport;

/**
 * Lets one caller at a time into a back end, and nobody once it is closed.
 *
 * <p>Two callers at once are somebody's mistake, so the second one is turned away. Freeing is different: an arena may be
 * closed by any thread at any time (or by the garbage collector), so freeing waits for the call that is running, and a
 * call waits for the moment that freeing takes.
 */
final class OneCaller {
    private static final int IDLE = 0;
    private static final int CALLING = 1;
    private static final int FREEING = 2;
    private static final int CLOSED = 3;

    private final AtomicInteger state = new AtomicInteger(IDLE);

    /** @throws IllegalStateException if another caller is inside, or the back end is closed */
    void enter(String function) {
        while (!state.compareAndSet(IDLE, CALLING)) {
            switch (state.get()) {
                case CALLING ->
                    throw new IllegalStateException(
                            function + ": another call is still running in this back end; one caller at a time");
                case CLOSED -> throw new IllegalStateException(function + ": this back end is closed");
                default -> Thread.onSpinWait();
            }
        }
    }

    void leave() {
        state.set(IDLE);
    }

    /** Instead of {@link #leave}, for good. */
    void leaveClosed() {
        state.set(CLOSED);
    }

    boolean closed() {
        return state.get() == CLOSED;
    }

    /** Runs {@code free} as soon as nobody is inside; not at all once closed, when everything was freed. */
    void free(Runnable free) {
        while (!state.compareAndSet(IDLE, FREEING)) {
            if (closed()) return;
            LockSupport.parkNanos(1_000);
        }
        try {
            free.run();
        } finally {
            state.set(IDLE);
        }
    }
}
