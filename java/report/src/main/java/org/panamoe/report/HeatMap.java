package org.panamoe.report;

import java.util.ArrayList;
import java.util.List;
import tools.jackson.core.JsonGenerator;

/**
 * A coloured cell for each row and column.
 *
 * @param x what the columns are
 * @param y what the rows are, the first at the top
 * @param value what the colours are
 * @param from value of the first colour, so that maps can be compared
 * @param to value of the last colour
 * @param values for each row, one for each column
 */
public record HeatMap(
        Axis x,
        List<String> columns,
        Axis y,
        List<String> rows,
        Axis value,
        double from,
        double to,
        List<List<Double>> values)
        implements Chart {
    public HeatMap {
        columns = List.copyOf(columns);
        rows = List.copyOf(rows);
        values = List.copyOf(values);
        if (!(from < to) || Double.isInfinite(to - from))
            throw new IllegalArgumentException("heat map: colours from %s to %s".formatted(from, to));
        if (values.size() != rows.size())
            throw new IllegalArgumentException(
                    "heat map: %d rows of values, %d names".formatted(values.size(), rows.size()));
        for (var row : values)
            if (row.size() != columns.size())
                throw new IllegalArgumentException(
                        "heat map: a row of %d values, %d columns".formatted(row.size(), columns.size()));
    }

    @Override
    public Table table() {
        var header = new ArrayList<>(List.of(y.label() + " \\ " + x.label()));
        header.addAll(columns);
        var table = new ArrayList<List<?>>();
        for (int i = 0; i < rows.size(); i++) {
            var row = new ArrayList<Object>(List.of(rows.get(i)));
            row.addAll(values.get(i));
            table.add(row);
        }
        return new Table(header, table);
    }

    @Override
    public void write(JsonGenerator json) {
        json.writeStringProperty("kind", "heat");
        Chart.write(json, "x", x);
        Chart.write(json, "y", y);
        Chart.write(json, "value", value);
        json.writeNumberProperty("from", from);
        json.writeNumberProperty("to", to);
        for (boolean column : new boolean[] {true, false}) {
            json.writeArrayPropertyStart(column ? "columns" : "rows");
            (column ? columns : rows).forEach(json::writeString);
            json.writeEndArray();
        }
        json.writeArrayPropertyStart("values");
        for (var row : values) {
            json.writeStartArray();
            for (double cell : row) Chart.write(json, cell);
            json.writeEndArray();
        }
        json.writeEndArray();
    }
}
