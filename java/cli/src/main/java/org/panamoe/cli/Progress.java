package org.panamoe.cli;

import me.tongfei.progressbar.ConsoleProgressBarConsumer;
import me.tongfei.progressbar.ProgressBar;
import org.jspecify.annotations.Nullable;

/** A bar on stderr for work that takes long, if somebody watches. */
final class Progress implements AutoCloseable {
    private static final int WIDTH = 80;

    private final @Nullable ProgressBar bar;

    Progress(Console console, String what, long steps) {
        bar = console.isWatched()
                ? ProgressBar.builder()
                        .setTaskName(what)
                        .setInitialMax(steps)
                        .setConsumer(new ConsoleProgressBarConsumer(console.err(), WIDTH))
                        .clearDisplayOnFinish()
                        .build()
                : null;
    }

    void step() {
        if (bar != null) bar.step();
    }

    @Override
    public void close() {
        if (bar != null) bar.close();
    }
}
