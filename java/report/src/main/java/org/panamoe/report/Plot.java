package org.panamoe.report;

import java.util.ArrayList;
import java.util.List;
import tools.jackson.core.JsonGenerator;

/**
 * Points of two coordinates.
 *
 * @param lines whether the points of a series are joined, in their order
 * @param guides lines to judge the series by, such as limits: joined, without symbols
 */
public record Plot(Axis x, Axis y, boolean lines, List<Series> series, List<Series> guides) implements Chart {
    /** @param name of the series in the legend; each its own */
    public record Series(String name, List<Point> points) {
        public Series {
            points = List.copyOf(points);
        }
    }

    /** @param label what the point is, beside its series; may be empty */
    public record Point(double x, double y, String label) {
        public Point(double x, double y) {
            this(x, y, "");
        }
    }

    public Plot {
        series = List.copyOf(series);
        guides = List.copyOf(guides);
    }

    public Plot(Axis x, Axis y, boolean lines, List<Series> series) {
        this(x, y, lines, series, List.of());
    }

    @Override
    public Table table() {
        boolean labels = series.stream().flatMap(s -> s.points.stream()).anyMatch(p -> !p.label.isEmpty());
        var header = new ArrayList<>(List.of("series", x.label(), y.label()));
        if (labels) header.add(1, "point");
        var rows = new ArrayList<List<?>>();
        for (var list : List.of(series, guides))
            for (var s : list)
                for (var p : s.points)
                    rows.add(labels ? List.of(s.name, p.label, p.x, p.y) : List.of(s.name, p.x, p.y));
        return new Table(header, rows);
    }

    @Override
    public void write(JsonGenerator json) {
        json.writeStringProperty("kind", lines ? "lines" : "points");
        Chart.write(json, "x", x);
        Chart.write(json, "y", y);
        write(json, "series", series);
        write(json, "guides", guides);
    }

    private static void write(JsonGenerator json, String key, List<Series> list) {
        json.writeArrayPropertyStart(key);
        for (var s : list) {
            json.writeStartObject();
            json.writeStringProperty("name", s.name);
            json.writeArrayPropertyStart("points");
            for (var p : s.points) {
                json.writeStartArray();
                Chart.write(json, p.x);
                Chart.write(json, p.y);
                if (!p.label.isEmpty()) json.writeString(p.label);
                json.writeEndArray();
            }
            json.writeEndArray();
            json.writeEndObject();
        }
        json.writeEndArray();
    }
}
