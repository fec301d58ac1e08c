package org.panamoe.report;

/**
 * What a number of a chart is.
 *
 * @param unit empty where it has none
 * @param log whether the axis is logarithmic; a number that is not above 0 then has no place on it
 */
public record Axis(String title, String unit, boolean log) {
    /** A linear axis. */
    public static Axis of(String title, String unit) {
        return new Axis(title, unit, false);
    }

    /** A logarithmic axis. */
    public static Axis log(String title, String unit) {
        return new Axis(title, unit, true);
    }

    /** As it is written beside the axis and above a column. */
    String label() {
        return unit.isEmpty() ? title : title + " (" + unit + ")";
    }
}
