package org.panamoe.report;

import tools.jackson.core.JsonGenerator;

/** A picture of numbers; the table has the same numbers. */
public sealed interface Chart permits Bars, HeatMap, Plot {
    /** Every number of the chart. */
    Table table();

    /** What the page's script draws, as an object with the key {@code kind} and others. */
    void write(JsonGenerator json);

    /** An axis as the script reads it. */
    static void write(JsonGenerator json, String key, Axis axis) {
        json.writeObjectPropertyStart(key);
        json.writeStringProperty("title", axis.title());
        json.writeStringProperty("unit", axis.unit());
        json.writeBooleanProperty("log", axis.log());
        json.writeEndObject();
    }

    /** JSON has no NaN; what is no number leaves a gap. */
    static void write(JsonGenerator json, double value) {
        if (Double.isFinite(value)) json.writeNumber(value);
        else json.writeNull();
    }
}
