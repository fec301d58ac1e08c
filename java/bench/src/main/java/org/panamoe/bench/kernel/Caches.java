package org.panamoe.bench.kernel;

import java.util.Locale;

/** Where a call finds the weights or latents that it reads. Activations are always hot: who made them has just run. */
public enum Caches {
    /** In memory: each call takes the next of so many copies that no cache holds them, as in a model of gigabytes. */
    COLD,
    /** Where the call before left them. */
    HOT;

    @Override
    public String toString() {
        return name().toLowerCase(Locale.ROOT);
    }
}
