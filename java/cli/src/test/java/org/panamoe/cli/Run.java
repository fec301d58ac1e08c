package org.panamoe.cli;

import static org.assertj.core.api.Assertions.assertThat;

import java.io.ByteArrayOutputStream;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.List;
import tools.jackson.databind.JsonNode;
import tools.jackson.databind.json.JsonMapper;

/** One run of the program in this JVM, and what came of it. */
record Run(int code, String out, String err) {
    private static final JsonMapper JSON = new JsonMapper();

    static Run of(String... args) {
        var out = new ByteArrayOutputStream();
        var err = new ByteArrayOutputStream();
        int code = Main.run(args, new Console(out, new PrintStream(err, true, StandardCharsets.UTF_8), false));
        return new Run(code, out.toString(StandardCharsets.UTF_8), err.toString(StandardCharsets.UTF_8));
    }

    /** A run that must do what it was asked. */
    static Run good(String... args) {
        var run = of(args);
        assertThat(run.code).as(run.err).isZero();
        return run;
    }

    /** The JSON object of a run with --json, which prints nothing else. */
    static JsonNode json(String... args) {
        var all = new ArrayList<>(List.of(args));
        all.add("--json");
        var run = good(all.toArray(String[]::new));
        assertThat(run.err).isEmpty();
        return JSON.readTree(run.out);
    }

    /** The one line in which a run says what is wrong. */
    static String refusal(int code, String... args) {
        var run = of(args);
        assertThat(run.code).as(run.err).isEqualTo(code);
        assertThat(run.out).isEmpty();
        assertThat(run.err.lines()).as(run.err).hasSize(1);
        assertThat(run.err).startsWith("panamoe: ").doesNotContain("should not happen");
        return run.err.strip();
    }
}
