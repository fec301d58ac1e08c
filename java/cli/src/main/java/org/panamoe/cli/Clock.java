package org.panamoe.cli;

/** When the prompt was handed over, the first tokens came, and the last. */
final class Clock {
    private final long started = System.nanoTime();
    private long first = -1;
    private long ended = -1;
    private int firstTokens;

    /** The first step that chose tokens is done; false if it was already. */
    boolean first(int tokens) {
        if (first >= 0) return false;
        first = System.nanoTime() - started;
        firstTokens = tokens;
        return true;
    }

    void stop() {
        ended = System.nanoTime() - started;
    }

    /** Seconds until the first token. */
    double prompt() {
        return first / 1e9;
    }

    /** Seconds from the first token to the last. */
    double decoding() {
        return (ended - first) / 1e9;
    }

    /** Tokens that the prompt's last step gave. */
    int firstTokens() {
        return firstTokens;
    }
}
