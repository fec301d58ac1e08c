package org.panamoe.model;

import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import java.util.function.IntFunction;
import org.jspecify.annotations.Nullable;

/**
 * What was made for n rows before: for few rows, as a step of decoding has, and for the last number of others. So a step
 * like one before makes none.
 */
final class ByRows<V> {
    private final IntFunction<V> make;
    private final List<@Nullable V> few;
    private @Nullable V last;
    private int lastRows;

    /** @param most so many rows are few */
    ByRows(int most, IntFunction<V> make) {
        this.make = make;
        few = new ArrayList<>(Collections.nCopies(most + 1, null));
    }

    V of(int n) {
        boolean kept = n < few.size();
        var held = kept ? few.get(n) : lastRows == n ? last : null;
        if (held != null) return held;
        var made = make.apply(n);
        if (kept) {
            few.set(n, made);
        } else {
            last = made;
            lastRows = n;
        }
        return made;
    }

    void forget() {
        Collections.fill(few, null);
        last = null;
    }
}
