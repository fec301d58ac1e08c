package org.panamoe.backend;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.util.concurrent.CountDownLatch;
import java.util.concurrent.atomic.AtomicInteger;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;

@Timeout(60)
final class OneCallerTest {
    private final OneCaller caller = new OneCaller();

    @Test
    void aSecondCallerIsTurnedAway() {
        caller.enter("gemm");
        assertThatThrownBy(() -> caller.enter("add"))
                .isInstanceOf(IllegalStateException.class)
                .hasMessage("add: another call is still running in this back end; one caller at a time");
        caller.leave();
        caller.enter("add");
    }

    @Test
    void nobodyEntersOnceClosed() {
        caller.enter("close");
        caller.leaveClosed();
        assertThat(caller.closed()).isTrue();
        assertThatThrownBy(() -> caller.enter("add"))
                .isInstanceOf(IllegalStateException.class)
                .hasMessage("add: this back end is closed");
        caller.free(() -> {
            throw new AssertionError("everything was freed");
        });
    }

    @Test
    void freeingWaitsForTheCallThatRuns() throws InterruptedException {
        caller.enter("gemm");
        var begun = new CountDownLatch(1);
        var freed = new CountDownLatch(1);
        var thread = Thread.ofPlatform().start(() -> {
            begun.countDown();
            caller.free(freed::countDown);
        });
        begun.await();
        Thread.sleep(20);
        assertThat(freed.getCount()).as("freed while the call ran").isOne();
        caller.leave();
        freed.await();
        thread.join();
        caller.enter("add");
    }

    /** Calls and frees of many threads: never two at once, and no call is turned away because of a free. */
    @Test
    void aCallWaitsForFreeing() throws InterruptedException {
        var inside = new AtomicInteger();
        var together = new AtomicInteger();
        var threads = new Thread[3];
        for (int i = 0; i < threads.length; i++)
            threads[i] = Thread.ofPlatform().start(() -> {
                for (int round = 0; round < 2_000; round++)
                    caller.free(() -> {
                        if (inside.incrementAndGet() > 1) together.incrementAndGet();
                        inside.decrementAndGet();
                    });
            });
        for (int call = 0; call < 20_000; call++) {
            caller.enter("gemm");
            if (inside.incrementAndGet() > 1) together.incrementAndGet();
            inside.decrementAndGet();
            caller.leave();
        }
        for (var thread : threads) thread.join();
        assertThat(together).hasValue(0);
    }
}
