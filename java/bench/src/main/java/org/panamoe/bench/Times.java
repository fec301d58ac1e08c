package org.panamoe.bench;

import java.util.ArrayList;
import java.util.List;

/** Calls of kernels and their time: one entry for each function, of products for each of its sizes. */
final class Times {
    /** What was called with the same sizes. */
    private static final class Entry {
        private final String function;
        private final int E, rows, columns;
        private long calls, nanos;

        private Entry(String function, int E, int rows, int columns) {
            this.function = function;
            this.E = E;
            this.rows = rows;
            this.columns = columns;
        }

        private boolean is(String function, int E, int rows, int columns) {
            return this.rows == rows && this.columns == columns && this.E == E && this.function.equals(function);
        }

        /** Of the matrix, as they are told of single kernels; empty where there is none. */
        private String sizes() {
            if (rows == 0) return "";
            return switch (function) {
                case "gemm" -> "%d x %d".formatted(rows, columns);
                case "grouped_swiglu" -> "%d x 2 x %d x %d".formatted(E, rows, columns);
                default -> "%d x %d x %d".formatted(E, rows, columns);
            };
        }
    }

    private final List<Entry> entries = new ArrayList<>();

    /** What was added since the last time. */
    List<Profile.Part> take() {
        var parts = new ArrayList<Profile.Part>();
        for (var entry : entries) {
            if (entry.calls > 0)
                parts.add(new Profile.Part(entry.function, entry.sizes(), entry.calls, entry.nanos / 1e9));
            entry.calls = 0;
            entry.nanos = 0;
        }
        return parts;
    }

    /**
     * One call more.
     *
     * @param E how many matrices a product has, of so many rows and columns; each 0 of other functions
     */
    void add(String function, int E, int rows, int columns, long nanos) {
        var entry = entry(function, E, rows, columns);
        entry.calls++;
        entry.nanos += nanos;
    }

    private Entry entry(String function, int E, int rows, int columns) {
        for (int i = 0; i < entries.size(); i++)
            if (entries.get(i).is(function, E, rows, columns)) return entries.get(i);
        var entry = new Entry(function, E, rows, columns);
        entries.add(entry);
        return entry;
    }
}
