package org.panamoe.report;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.io.IOException;
import java.io.StringWriter;
import java.util.List;
import java.util.stream.IntStream;
import org.junit.jupiter.api.Test;

class PageTest {
    /** What would run, were it not escaped. */
    static final String HOSTILE = "</script><script>document.title='broken'</script><img src=x onerror=\"broken()\">&'";

    /** One chart of each kind, with hostile names. */
    static Page page() {
        var loss = new Plot(
                Axis.of("step", ""),
                Axis.log("MaxVio", ""),
                true,
                IntStream.range(0, 9)
                        .mapToObj(s -> new Plot.Series(
                                s == 0 ? HOSTILE : "rate " + s,
                                IntStream.range(0, 60)
                                        .mapToObj(i -> new Plot.Point(i, (1 + s) / (1.0 + i)))
                                        .toList()))
                        .toList());
        var pareto = new Plot(
                Axis.of("score regret", "%"),
                Axis.of("MaxVio", ""),
                false,
                List.of(
                        new Plot.Series("sign", List.of(new Plot.Point(1, 2, HOSTILE), new Plot.Point(2, 1, "slow"))),
                        new Plot.Series("quantile", List.of(new Plot.Point(1.5, 1.5)))));
        var limited = new Plot(
                Axis.log("intensity", "FLOP/byte"),
                Axis.log("rate", "GFLOP/s"),
                false,
                List.of(new Plot.Series("gemm", List.of(new Plot.Point(0.5, 10, "1 row"), new Plot.Point(64, 200)))),
                List.of(new Plot.Series(
                        "roof " + HOSTILE,
                        List.of(new Plot.Point(0.1, 3), new Plot.Point(10, 300), new Plot.Point(100, 300)))));
        var heat = new HeatMap(
                Axis.of("expert", ""),
                IntStream.range(0, 16).mapToObj(String::valueOf).toList(),
                Axis.of("layer", ""),
                List.of("3", "4", HOSTILE),
                Axis.of("load over mean", ""),
                0,
                15,
                IntStream.range(0, 3)
                        .mapToObj(y -> IntStream.range(0, 16)
                                .mapToObj(x -> (double) ((x + 5 * y) % 16))
                                .toList())
                        .toList());
        var bars = new Bars(
                Axis.of("GPU", ""),
                List.of("0", "1", HOSTILE),
                Axis.of("load", "tokens"),
                false,
                List.of(
                        new Bars.Series("before", List.of(3.0, 1.0, 2.0)),
                        new Bars.Series("after", List.of(2.0, 2.0, 2.5))));
        return new Page("A page " + HOSTILE, "Its summary " + HOSTILE, new Origin("panamoe " + HOSTILE, "7", "0.1"))
                .add("Lines", HOSTILE, loss)
                .add("Pareto", "", pareto)
                .add("Limited", "", limited)
                .add("Heat", "", heat)
                .add("Bars", "", bars)
                .add(
                        "Table",
                        "",
                        new Table(
                                List.of("what", "value"),
                                List.of(List.of(HOSTILE, 1234567.5), List.of("none", Double.NaN))));
    }

    static String html() throws IOException {
        var html = new StringWriter();
        page().write(html);
        return html.toString();
    }

    /** Without the chart library, which has a megabyte. */
    private static String ours() throws IOException {
        String html = html();
        int from = html.indexOf("<script>") + "<script>".length();
        return html.substring(0, from) + html.substring(html.indexOf("</script>\n<script>", from));
    }

    @Test
    void textIsEscaped() throws IOException {
        assertThat(ours())
                .doesNotContain("<script>document.title", "<img")
                .contains("&lt;/script&gt;&lt;script&gt;document.title=&#39;broken&#39;")
                .contains("\\u003c/script>");
    }

    /** The script that is inlined must not end its own element. */
    @Test
    void hasItsScriptsAndNothingElse() throws IOException {
        String html = html();
        assertThat(html.split("</script>", -1).length).isEqualTo(1 + 5 + 2);
        assertThat(html.contains("<!--")).isFalse(); // with it, a script would end elsewhere
        assertThat(ours()).doesNotContain("<link", " src=\"", "@import", "url(", "http:", "https:");
    }

    @Test
    void saysWhatMadeIt() throws IOException {
        assertThat(ours()).contains("<dt>Command</dt>", "<dt>Seed</dt><dd>7</dd>", "<dt>Version</dt><dd>0.1</dd>");
    }

    @Test
    void numbersAreReadable() throws IOException {
        assertThat(ours())
                .contains("<td class=\"number\">1,234,568</td>", "<td class=\"number\">–</td>")
                .contains("<td class=\"number\">0.0166667</td>");
    }

    @Test
    void wrongSizesAreRefused() {
        assertThatThrownBy(() -> new Table(List.of("a", "b"), List.of(List.of(1))))
                .hasMessage("table: row 0 has 1 cells, the header 2");
        assertThatThrownBy(() -> new Bars(
                        Axis.of("x", ""),
                        List.of("a"),
                        Axis.of("y", ""),
                        false,
                        List.of(new Bars.Series("s", List.of(1.0, 2.0)))))
                .hasMessage("bars: s has 2 values, there are 1 categories");
    }
}
