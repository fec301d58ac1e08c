package org.panamoe.cli;

import java.io.IOException;
import java.io.OutputStream;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;

/**
 * Where a command writes. {@code out} carries its text or JSON object and nothing else, in UTF-8 whatever the locale;
 * everything for a human reader goes to {@code err}.
 *
 * @param process whether these are the streams of the process, of which it can be asked whether they are a terminal
 */
record Console(OutputStream out, PrintStream err, boolean process) {
    /** Writes a piece of the result at once, so that it is seen at once. */
    void print(String text) throws IOException {
        try {
            out.write(text.getBytes(StandardCharsets.UTF_8));
            out.flush();
        } catch (IOException e) {
            throw new IOException("stdout: " + e.getMessage(), e);
        }
    }

    void println(Object line) throws IOException {
        print(line + "\n");
    }

    /** Whether somebody sees progress on {@code err}. */
    boolean isWatched() {
        return process && Terminal.isTerminal(Terminal.STDERR);
    }
}
