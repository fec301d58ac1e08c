package org.panamoe.report;

import java.util.ArrayList;
import java.util.List;
import tools.jackson.core.JsonGenerator;

/**
 * A bar for each category and series, beside each other.
 *
 * @param x what the categories are
 * @param stacked whether the series of a category stand upon each other
 */
public record Bars(Axis x, List<String> categories, Axis y, boolean stacked, List<Series> series) implements Chart {
    /** @param values one for each category */
    public record Series(String name, List<Double> values) {
        public Series {
            values = List.copyOf(values);
        }
    }

    public Bars {
        categories = List.copyOf(categories);
        series = List.copyOf(series);
        for (var s : series)
            if (s.values.size() != categories.size())
                throw new IllegalArgumentException("bars: %s has %d values, there are %d categories"
                        .formatted(s.name, s.values.size(), categories.size()));
    }

    @Override
    public Table table() {
        var header = new ArrayList<>(List.of(x.label()));
        for (var s : series) header.add(s.name + ": " + y.label());
        var rows = new ArrayList<List<?>>();
        for (int i = 0; i < categories.size(); i++) {
            var row = new ArrayList<Object>(List.of(categories.get(i)));
            for (var s : series) row.add(s.values.get(i));
            rows.add(row);
        }
        return new Table(header, rows);
    }

    @Override
    public void write(JsonGenerator json) {
        json.writeStringProperty("kind", "bars");
        json.writeBooleanProperty("stacked", stacked);
        Chart.write(json, "x", x);
        Chart.write(json, "y", y);
        json.writeArrayPropertyStart("categories");
        categories.forEach(json::writeString);
        json.writeEndArray();
        json.writeArrayPropertyStart("series");
        for (var s : series) {
            json.writeStartObject();
            json.writeStringProperty("name", s.name);
            json.writeArrayPropertyStart("values");
            for (double value : s.values) Chart.write(json, value);
            json.writeEndArray();
            json.writeEndObject();
        }
        json.writeEndArray();
    }
}
