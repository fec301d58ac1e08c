package org.panamoe.report;

import static org.assertj.core.api.Assertions.assertThat;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.TimeUnit;
import java.util.regex.Pattern;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/** A page in a real browser, where there is one. */
class BrowserTest {
    private static final List<String> NAMES =
            List.of("chromium", "chromium-browser", "google-chrome", "google-chrome-stable");

    /** Before all else: whatever goes wrong from here on is kept. */
    private static final String LISTEN = """
            <script>
            window.wrong = [];
            addEventListener('error', e => wrong.push(String(e.message || e.target.src)), true);
            addEventListener('securitypolicyviolation', e => wrong.push('policy: ' + e.violatedDirective));
            for (const kind of ['error', 'warn']) console[kind] = (...what) => wrong.push(kind + ': ' + what.join(' '));
            </script>
            """;

    /** After all else: what is drawn, and what the mouse would be told. */
    private static final String LOOK = """
            <script>
            const tips = [...document.querySelectorAll('.chart')].map(place => {
              const chart = echarts.getInstanceByDom(place);
              chart.dispatchAction({type: 'showTip', seriesIndex: 0, dataIndex: 1});
              const tip = [...place.children].map(child => child.innerText).join(' ').replace(/\\s+/g, ' ').trim();
              const drawn = place.querySelectorAll('svg path').length;
              return (drawn > 5 ? 'drawn ' : 'EMPTY ') + place.clientWidth + ' ' + tip;
            });
            const result = document.createElement('pre');
            result.id = 'result';
            result.textContent = JSON.stringify({wrong, title: document.title, tips,
              wide: [...document.querySelectorAll('body *')].filter(e => !e.closest('.table, svg') && e.getBoundingClientRect().right > document.documentElement.clientWidth)
                .map(e => e.outerHTML.slice(0, 60)), paper: getComputedStyle(document.body).backgroundColor,
              tables: document.querySelectorAll('table').length});
            document.body.append(result);
            </script>
            """;

    @TempDir
    private Path folder;

    @ParameterizedTest
    @CsvSource({
        "1280, 1, 'rgb(255, 255, 255)'",
        "1280, 0, 'rgb(20, 23, 27)'",
        "500,  1, 'rgb(255, 255, 255)'", // Chromium's narrowest window
    })
    void drawsAndTells(int width, int scheme, String paper) throws IOException, InterruptedException {
        String html = PageTest.html();
        int head = html.indexOf("<head>") + "<head>".length(), end = html.lastIndexOf("</body>");
        html = html.substring(0, head) + LISTEN + html.substring(head, end) + LOOK + html.substring(end);
        String seen = show(html, width, scheme);
        assertThat(seen)
                .contains("\"wrong\":[]")
                .contains("\"paper\":\"" + paper + "\"")
                .contains("\"tables\":6");
        assertThat(seen).contains("\"wide\":[]");
        assertThat(seen).contains("\"title\":\"A page </script>"); // and not "broken"
        assertThat(seen).doesNotContain("EMPTY");
        assertThat(seen.split("drawn ", -1)).hasSize(1 + 5);
        assertThat(seen).contains("step: 1 MaxVio: 0.5", "score regret: 2 % MaxVio: 1", "sign, slow");
        assertThat(seen).contains("gemm intensity: 64 FLOP/byte rate: 200 GFLOP/s");
        assertThat(seen).contains("layer 3, expert 1 load over mean: 1", "before: 1 tokens");
    }

    private String show(String html, int width, int scheme) throws IOException, InterruptedException {
        var page = Files.writeString(folder.resolve("page.html"), html);
        var dom = folder.resolve("dom.html");
        var command = new ArrayList<>(List.of(browser(), "--headless=new", "--disable-gpu", "--disable-dev-shm-usage"));
        if (ProcessHandle.current().info().user().orElse("").equals("root")) command.add("--no-sandbox");
        command.addAll(List.of(
                "--user-data-dir=" + folder.resolve("profile"),
                "--window-size=" + width + ",900",
                "--blink-settings=preferredColorScheme=" + scheme,
                "--virtual-time-budget=3000",
                "--dump-dom",
                page.toUri().toString()));
        var process = new ProcessBuilder(command)
                .redirectOutput(dom.toFile())
                .redirectError(folder.resolve("err.txt").toFile())
                .start();
        boolean ended = process.waitFor(90, TimeUnit.SECONDS);
        if (!ended) process.destroyForcibly().waitFor();
        assertThat(ended).as("the browser ended").isTrue();
        var result = Pattern.compile("<pre id=\"result\">(.*?)</pre>", Pattern.DOTALL)
                .matcher(Files.readString(dom));
        assertThat(result.find())
                .as(() -> "the page ran to its end: " + read(folder.resolve("err.txt")))
                .isTrue();
        return result.group(1)
                .replace("&lt;", "<")
                .replace("&gt;", ">")
                .replace("&quot;", "\"")
                .replace("&amp;", "&");
    }

    private static String read(Path file) {
        try {
            return Files.readString(file);
        } catch (IOException e) {
            return e.toString();
        }
    }

    private static String browser() {
        for (String folder : System.getenv().getOrDefault("PATH", "").split(":", -1))
            for (String name : NAMES)
                if (!folder.isEmpty() && Files.isExecutable(Path.of(folder, name)))
                    return Path.of(folder, name).toString();
        assumeTrue(false, "no browser: none of " + NAMES + " on the PATH");
        throw new AssertionError();
    }
}
