package org.panamoe.cli;

import java.util.Locale;

/** Bytes as people read them, in powers of 1000: "37.2 GB". */
final class Bytes {
    private static final String[] UNITS = {"B", "kB", "MB", "GB", "TB", "PB"};

    private Bytes() {}

    static String text(double bytes) {
        int unit = 0;
        while (bytes >= 999.5 && unit < UNITS.length - 1) {
            bytes /= 1000;
            unit++;
        }
        int decimals = unit == 0 || bytes >= 99.95 ? 0 : bytes >= 9.995 ? 1 : 2;
        return String.format(Locale.ROOT, "%." + decimals + "f %s", bytes, UNITS[unit]);
    }
}
