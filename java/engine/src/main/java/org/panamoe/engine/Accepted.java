package org.panamoe.engine;

/** For each span of a batch how many of its drafts stand, and the certain token after them. */
final class Accepted {
    final int[] count;
    final int[] next;

    /** Of A spans. */
    Accepted(int A) {
        count = new int[A];
        next = new int[A];
    }
}
