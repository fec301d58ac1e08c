package org.panamoe.engine;

/** For each span of a batch how many of its drafts stand, and the certain token after them. */
final class Accepted {
    final int[] count;
    final int[] next;

    Accepted(int[] count, int[] next) {
        this.count = count;
        this.next = next;
    }
}
