package org.panamoe.text;

import java.util.Arrays;
import java.util.List;

/**
 * Ends a text before the first stop string. First is the one that is complete first; of several that end at the same
 * character, the longest. How the text is cut into pieces makes no difference.
 *
 * <pre>{@code
 * String shown = stops.add(stream.add(token));    // print it
 * if (stops.found()) ...                          // stop generating
 * shown = stops.add(stream.end()) + stops.end();  // after the last token
 * }</pre>
 */
public final class StopStrings {
    private final String[] stops;
    private final int[][] fallbacks; // Knuth, Morris and Pratt's table of each stop string
    private final int[] matched; // how much of each stop string the text ends with
    private final StringBuilder held = new StringBuilder();
    private boolean found;

    /** @param stops none of them empty; the list may be */
    public StopStrings(List<String> stops) {
        if (stops.contains("")) {
            throw new IllegalArgumentException("a stop string is empty");
        }
        this.stops = stops.toArray(String[]::new);
        this.fallbacks = stops.stream().map(StopStrings::fallback).toArray(int[][]::new);
        this.matched = new int[this.stops.length];
    }

    /** Text that can no longer belong to a stop string; empty once one is {@link #found}. */
    public String add(String text) {
        for (int i = 0; i < text.length() && !found; i++) {
            held.append(text.charAt(i));
            int stop = 0;
            for (int s = 0; s < stops.length; s++) {
                matched[s] = advance(s, text.charAt(i));
                stop = matched[s] == stops[s].length() ? Math.max(stop, matched[s]) : stop;
            }
            found = stop > 0;
            held.setLength(held.length() - stop);
        }
        int keep = found ? 0 : Arrays.stream(matched).max().orElse(0);
        return release(held.length() - keep);
    }

    /** The text held back, if no stop string was found. */
    public String end() {
        return release(held.length());
    }

    public boolean found() {
        return found;
    }

    private String release(int length) {
        String released = held.substring(0, length);
        held.delete(0, length);
        return released;
    }

    private int advance(int s, char c) {
        String stop = stops[s];
        int length = matched[s];
        while (length > 0 && (length == stop.length() || stop.charAt(length) != c)) {
            length = fallbacks[s][length - 1];
        }
        return stop.charAt(length) == c ? length + 1 : 0;
    }

    /** For each start of the stop string, the length of its longest proper end that is a start too. */
    private static int[] fallback(String stop) {
        int[] fallback = new int[stop.length()];
        for (int i = 1, length = 0; i < stop.length(); i++) {
            while (length > 0 && stop.charAt(length) != stop.charAt(i)) {
                length = fallback[length - 1];
            }
            if (stop.charAt(length) == stop.charAt(i)) {
                length++;
            }
            fallback[i] = length;
        }
        return fallback;
    }
}
