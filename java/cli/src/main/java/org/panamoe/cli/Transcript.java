package org.panamoe.cli;

import java.io.IOException;
import java.util.Arrays;
import java.util.List;
import org.jspecify.annotations.Nullable;
import org.panamoe.text.StopStrings;
import org.panamoe.text.TextStream;
import org.panamoe.text.Tokenizer;

/** What was generated: its tokens, and its text up to the first stop string, handed on as soon as it is certain. */
final class Transcript {
    /** Takes pieces of text, none of which ends within a character. */
    @FunctionalInterface
    interface Sink {
        void print(String piece) throws IOException;
    }

    private final @Nullable TextStream stream;
    private final StopStrings stops;
    private final Sink sink;
    private final StringBuilder text = new StringBuilder();
    private int[] tokens = new int[64];
    private int count;

    /** @param tokenizer without one the text is the ids, separated by commas */
    Transcript(@Nullable Tokenizer tokenizer, List<String> stops, Sink sink) {
        stream = tokenizer == null ? null : tokenizer.stream();
        this.stops = new StopStrings(stops);
        this.sink = sink;
    }

    /** Takes the next token; true if it completes a stop string. Tokens after that are none of ours. */
    boolean add(int token) throws IOException {
        if (stops.found()) return true;
        if (count == tokens.length) tokens = Arrays.copyOf(tokens, 2 * count);
        tokens[count++] = token;
        print(stream == null ? (count == 1 ? "" : ",") + token : stops.add(stream.add(token)));
        return stops.found();
    }

    /** No more tokens come. */
    void end() throws IOException {
        if (stream != null && !stops.found()) print(stops.add(stream.end()) + stops.end());
        sink.print("\n");
    }

    boolean stopped() {
        return stops.found();
    }

    int[] tokens() {
        return Arrays.copyOf(tokens, count);
    }

    /** Null where there is no tokenizer. */
    @Nullable
    String text() {
        return stream == null ? null : text.toString();
    }

    private void print(String piece) throws IOException {
        if (piece.isEmpty()) return;
        text.append(piece);
        sink.print(piece);
    }
}
