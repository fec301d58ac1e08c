package org.panamoe.report;

import java.io.FileNotFoundException;
import java.io.IOException;
import java.io.StringWriter;
import java.io.Writer;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.List;
import org.jspecify.annotations.Nullable;
import tools.jackson.core.ObjectWriteContext;
import tools.jackson.core.json.JsonFactory;

/**
 * One HTML file that needs nothing else: script, style and data are inside, and its content security policy forbids the
 * network. All text is escaped. Light or dark is the reader's choice.
 */
public final class Page {
    private static final JsonFactory JSON = new JsonFactory();

    private record Section(
            String title, String text, @Nullable Chart chart, Table table) {}

    private final String title;
    private final String summary;
    private final Origin origin;
    private final List<Section> sections = new ArrayList<>();

    /** @param summary what the page says, in a sentence or two */
    public Page(String title, String summary, Origin origin) {
        this.title = title;
        this.summary = summary;
        this.origin = origin;
    }

    /** A chart, and its numbers as a table that can be opened. */
    public Page add(String title, String text, Chart chart) {
        sections.add(new Section(title, text, chart, chart.table()));
        return this;
    }

    /** A table alone. */
    public Page add(String title, String text, Table table) {
        sections.add(new Section(title, text, null, table));
        return this;
    }

    /** The whole file, in UTF-8. */
    public void write(Writer out) throws IOException {
        out.write("<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n");
        out.write("<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n");
        out.write("<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none';"
                + " script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src data:\">\n");
        out.write("<meta name=\"generator\" content=\"" + escaped(origin.version()) + "\">\n");
        out.write("<title>" + escaped(title) + "</title>\n<style>\n" + resource("page.css")
                + "</style>\n</head>\n<body>\n");
        out.write("<header><h1>" + escaped(title) + "</h1>\n<p>" + escaped(summary) + "</p></header>\n<main>\n");
        for (int i = 0; i < sections.size(); i++) write(out, sections.get(i), i);
        out.write("</main>\n<footer><dl><dt>Command</dt><dd><code>" + escaped(origin.command())
                + "</code></dd><dt>Seed</dt><dd>" + escaped(origin.seed()) + "</dd><dt>Version</dt><dd>"
                + escaped(origin.version()) + "</dd></dl></footer>\n");
        // A browser without a script still shows titles and tables.
        out.write("<script>" + resource("echarts/echarts.min.js") + "</script>\n");
        out.write("<script>\n" + resource("page.js") + "</script>\n</body>\n</html>\n");
        out.flush();
    }

    private static void write(Writer out, Section section, int number) throws IOException {
        out.write("<section><h2>" + escaped(section.title) + "</h2>\n");
        if (!section.text.isEmpty()) out.write("<p>" + escaped(section.text) + "</p>\n");
        if (section.chart == null) write(out, section.table);
        else {
            out.write("<div class=\"chart\" id=\"chart" + number + "\" role=\"img\" aria-label=\""
                    + escaped(section.title)
                    + "\"></div>\n<script type=\"application/json\" data-chart=\"chart" + number + "\">"
                    + json(section.chart) + "</script>\n<details><summary>The numbers</summary>\n");
            write(out, section.table);
            out.write("</details>\n");
        }
        out.write("</section>\n");
    }

    private static void write(Writer out, Table table) throws IOException {
        out.write("<div class=\"table\"><table>\n<thead><tr>");
        for (int i = 0; i < table.header().size(); i++) {
            boolean number = !table.rows().isEmpty() && table.rows().getFirst().get(i) instanceof Number;
            out.write("<th scope=\"col\"" + (number ? " class=\"number\">" : ">")
                    + escaped(table.header().get(i)) + "</th>");
        }
        out.write("</tr></thead>\n<tbody>\n");
        for (var row : table.rows()) {
            out.write("<tr>");
            for (Object cell : row)
                out.write(
                        cell instanceof Number number
                                ? "<td class=\"number\">" + escaped(text(number)) + "</td>"
                                : "<td>" + escaped(cell.toString()) + "</td>");
            out.write("</tr>\n");
        }
        out.write("</tbody>\n</table></div>\n");
    }

    /** Six significant digits tell enough; whole numbers are whole. */
    private static String text(Number number) {
        double value = number.doubleValue();
        if (!Double.isFinite(value)) return "–";
        if (value == Math.rint(value) && Math.abs(value) < 1e15) return "%,d".formatted((long) value);
        double size = Math.abs(value);
        if (size >= 1e9 || size < 1e-4) return "%.5e".formatted(value);
        int decimals = Math.max(0, 5 - (int) Math.floor(Math.log10(size)));
        return ("%,." + decimals + "f")
                .formatted(value)
                .replaceFirst("(\\.\\d*?)0+$", "$1")
                .replaceFirst("\\.$", "");
    }

    /** As a script's text, where only the sign that opens a tag could end it; in JSON it occurs in strings alone. */
    private static String json(Chart chart) {
        var text = new StringWriter();
        try (var json = JSON.createGenerator(ObjectWriteContext.empty(), text)) {
            json.writeStartObject();
            chart.write(json);
            json.writeEndObject();
        }
        return text.toString().replace("<", "\\u003c");
    }

    private static String escaped(String text) {
        return text.replace("&", "&amp;")
                .replace("<", "&lt;")
                .replace(">", "&gt;")
                .replace("\"", "&quot;")
                .replace("'", "&#39;");
    }

    private static String resource(String name) throws IOException {
        try (var in = Page.class.getResourceAsStream(name)) {
            if (in == null) throw new FileNotFoundException("there is no " + name + " beside " + Page.class.getName());
            return new String(in.readAllBytes(), StandardCharsets.UTF_8);
        }
    }
}
