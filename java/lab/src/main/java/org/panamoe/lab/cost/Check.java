package org.panamoe.lab.cost;

/** What an account's numbers must be. */
final class Check {
    private Check() {}

    static void positive(String what, double value) {
        require(value > 0 && Double.isFinite(value), what, value, "a finite number above 0");
    }

    static void notNegative(String what, double value) {
        require(value >= 0 && Double.isFinite(value), what, value, "a finite number from 0");
    }

    static void share(String what, double value) {
        require(value > 0 && value <= 1, what, value, "in (0, 1]");
    }

    private static void require(boolean right, String what, double value, String should) {
        if (!right) throw new IllegalArgumentException("%s: %s is not %s".formatted(what, value, should));
    }
}
