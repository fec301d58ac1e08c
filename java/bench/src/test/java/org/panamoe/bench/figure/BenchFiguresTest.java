package org.panamoe.bench.figure;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import java.io.IOException;
import java.io.StringWriter;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.TimeUnit;
import java.util.regex.Pattern;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.panamoe.bench.Plan;
import org.panamoe.bench.Shape;
import org.panamoe.bench.Slice;
import org.panamoe.bench.Work;
import org.panamoe.bench.kernel.Caches;
import org.panamoe.bench.kernel.Gather;
import org.panamoe.bench.kernel.Gemm;
import org.panamoe.bench.kernel.KernelPlan;
import org.panamoe.report.Origin;
import org.panamoe.report.Page;
import org.panamoe.tensor.QuantFormat;
import tools.jackson.databind.JsonNode;
import tools.jackson.databind.json.JsonMapper;
import tools.jackson.databind.node.ObjectNode;

class BenchFiguresTest {
    private static final List<String> BROWSERS =
            List.of("chromium", "chromium-browser", "google-chrome", "google-chrome-stable");

    /** Before all else: whatever goes wrong from here on is kept, also what would ask the network. */
    private static final String LISTEN = """
            <script>
            window.wrong = [];
            addEventListener('error', e => wrong.push(String(e.message || e.target.src)), true);
            addEventListener('securitypolicyviolation', e => wrong.push('policy: ' + e.violatedDirective));
            for (const kind of ['error', 'warn']) console[kind] = (...what) => wrong.push(kind + ': ' + what.join(' '));
            </script>
            """;

    /** After all else: of each chart its title, how many series it has, and how many points lie inside its frame. */
    private static final String LOOK = """
            <script>
            const charts = [...document.querySelectorAll('.chart')].map(place => {
              const chart = echarts.getInstanceByDom(place), series = chart.getOption().series;
              const inside = series.flatMap((s, i) => s.data.filter(p =>
                chart.containPixel({seriesIndex: i}, chart.convertToPixel({seriesIndex: i}, [p[0], p[1]])))).length;
              return place.closest('section').querySelector('h2').textContent + '|' + series.length + '|' + inside + '|' + place.querySelectorAll('svg path').length;
            });
            const result = document.createElement('pre');
            result.id = 'result';
            result.textContent = ['wrong ' + wrong.length, ...wrong, ...charts,
              'loaded ' + performance.getEntriesByType('resource').length].join('\\n');
            document.body.append(result);
            </script>
            """;

    @TempDir
    private Path folder;

    /** Two kernels, of which one only moves data, at two numbers of rows; and decoding at two depths. */
    private static Map<String, JsonNode> reports() {
        var reports = new LinkedHashMap<String, JsonNode>();
        reports.put(
                "kernels.json",
                new KernelPlan(
                                Shape.V2_LITE,
                                List.of(
                                        new Gemm(QuantFormat.BF16, 1, 256, 128),
                                        new Gemm(QuantFormat.BF16, 8, 256, 128),
                                        new Gemm(QuantFormat.INT8, 1, 256, 128),
                                        new Gemm(QuantFormat.INT8, 8, 256, 128),
                                        new Gather(1, 6, 256),
                                        new Gather(8, 6, 256)),
                                Caches.HOT,
                                List.of(1),
                                "",
                                1,
                                0)
                        .run(_ -> {})
                        .json());
        var slice = new Slice(Shape.V2_LITE, 2, 1, 8, 512, QuantFormat.BF16);
        List<Work> work = List.of(new Work.Decode(1, 0), new Work.Decode(1, 70));
        reports.put(
                "decode.json",
                new Plan(slice, work, List.of(1), 1, 0, false).run(_ -> {}).json());
        return reports;
    }

    private static String html(Map<String, JsonNode> reports) throws IOException {
        var page = new Page("Kernels", "", new Origin("panamoe bench report", "1", "0.1"));
        BenchFigures.add(page, reports);
        var html = new StringWriter();
        page.write(html);
        return html.toString();
    }

    @Test
    void drawsEveryPointUnderItsRoofs() throws IOException, InterruptedException {
        String html = html(reports());
        assertThat(html)
                .contains("Machine: kernels.json", "Machine: decode.json", "limit, threads 1", "int8_gop_per_second");
        int head = html.indexOf("<head>") + "<head>".length(), end = html.lastIndexOf("</body>");
        var lines = seen(html.substring(0, head) + LISTEN + html.substring(head, end) + LOOK + html.substring(end));
        assertThat(lines.getFirst()).isEqualTo("wrong 0");
        assertThat(lines.getLast()).isEqualTo("loaded 0");
        var charts = lines.subList(1, lines.size() - 1);
        // gemm 4 points and decode 2; the roofs of fp32 in each file and of int8 in one, with 3 points each.
        assertThat(charts.getFirst()).startsWith("Roofline, 1 thread|5|15|");
        assertThat(charts.subList(1, charts.size()))
                .satisfiesExactly(
                        c -> assertThat(c).startsWith("gemm over rows|2|4|"),
                        c -> assertThat(c).startsWith("gather over rows|1|2|"),
                        c -> assertThat(c).startsWith("decode over depth|1|2|"));
        assertThat(charts)
                .allSatisfy(c -> assertThat(Integer.parseInt(c.substring(c.lastIndexOf('|') + 1)))
                        .isGreaterThan(5));
    }

    @Test
    void whatIsNoReportIsRefusedByName() {
        assertThatThrownBy(() -> html(Map.of("a.json", JsonMapper.shared().readTree("{}"))))
                .hasMessage("a.json: not a report of bench: it has no results");
        var report = (ObjectNode) JsonMapper.shared().readTree("{\"results\": [{\"name\": \"gemm\", \"threads\": 1}]}");
        assertThatThrownBy(() -> html(Map.of("a.json", report)))
                .hasMessage("a.json: result 0 has no number seconds_per_call");
    }

    /** What the page says in a browser, if there is one. */
    private List<String> seen(String html) throws IOException, InterruptedException {
        var page = Files.writeString(folder.resolve("page.html"), html);
        var dom = folder.resolve("dom.html");
        var command = new ArrayList<>(List.of(browser(), "--headless=new", "--disable-gpu", "--disable-dev-shm-usage"));
        if (ProcessHandle.current().info().user().orElse("").equals("root")) command.add("--no-sandbox");
        command.addAll(List.of(
                "--user-data-dir=" + folder.resolve("profile"),
                "--window-size=1280,900",
                "--virtual-time-budget=3000",
                "--dump-dom",
                page.toUri().toString()));
        var process = new ProcessBuilder(command)
                .redirectOutput(dom.toFile())
                .redirectError(ProcessBuilder.Redirect.DISCARD)
                .start();
        boolean ended = process.waitFor(90, TimeUnit.SECONDS);
        if (!ended) process.destroyForcibly().waitFor();
        assertThat(ended).as("the browser ended").isTrue();
        var result = Pattern.compile("<pre id=\"result\">(.*?)</pre>", Pattern.DOTALL)
                .matcher(Files.readString(dom));
        assertThat(result.find()).as("the page ran to its end").isTrue();
        return List.of(result.group(1).split("\n", -1));
    }

    private static String browser() {
        for (String folder : System.getenv().getOrDefault("PATH", "").split(":", -1))
            for (String name : BROWSERS)
                if (!folder.isEmpty() && Files.isExecutable(Path.of(folder, name)))
                    return Path.of(folder, name).toString();
        assumeTrue(false, "no browser: none of " + BROWSERS + " on the PATH");
        throw new AssertionError();
    }
}
