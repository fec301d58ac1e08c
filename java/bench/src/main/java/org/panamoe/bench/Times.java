package org.panamoe.bench;

import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;

/** Calls of kernels and their time. A call is only written down; who they are of is found out afterwards. */
final class Times {
    private String[] function = new String[64];
    private int[] E = new int[64], rows = new int[64], columns = new int[64];
    private long[] nanos = new long[64];
    private int calls;

    /**
     * One call more.
     *
     * @param E how many matrices a product has, of so many rows and columns; each 0 of other functions
     */
    void add(String function, int E, int rows, int columns, long nanos) {
        if (calls == this.nanos.length) grow();
        this.function[calls] = function;
        this.E[calls] = E;
        this.rows[calls] = rows;
        this.columns[calls] = columns;
        this.nanos[calls++] = nanos;
    }

    /** What was added since the last time: one part for each function, of products for each of its sizes. */
    List<Profile.Part> take() {
        var parts = new LinkedHashMap<String, Profile.Part>();
        for (int i = 0; i < calls; i++) {
            var part = new Profile.Part(function[i], sizes(i), 1, nanos[i] / 1e9);
            parts.merge(part.name(), part, Profile.Part::plus);
        }
        calls = 0;
        return List.copyOf(parts.values());
    }

    /** Of the matrix, as they are told of single kernels; empty where there is none. */
    private String sizes(int i) {
        if (rows[i] == 0) return "";
        String matrix = rows[i] + " x " + columns[i];
        return switch (function[i]) {
            case "gemm" -> matrix;
            case "grouped_swiglu" -> E[i] + " x 2 x " + matrix;
            default -> E[i] + " x " + matrix;
        };
    }

    private void grow() {
        int room = 2 * calls;
        function = Arrays.copyOf(function, room);
        E = Arrays.copyOf(E, room);
        rows = Arrays.copyOf(rows, room);
        columns = Arrays.copyOf(columns, room);
        nanos = Arrays.copyOf(nanos, room);
    }
}
