package org.panamoe.report;

import java.util.List;

/**
 * Rows of text and numbers.
 *
 * @param rows each as long as the header; a cell is a {@link Number}, or text by its {@code toString}
 */
public record Table(List<String> header, List<List<?>> rows) {
    public Table {
        header = List.copyOf(header);
        rows = List.copyOf(rows);
        for (int i = 0; i < rows.size(); i++)
            if (rows.get(i).size() != header.size())
                throw new IllegalArgumentException("table: row %d has %d cells, the header %d"
                        .formatted(i, rows.get(i).size(), header.size()));
    }
}
