package org.panamoe;

import static org.assertj.core.api.Assertions.assertThat;

import java.io.ByteArrayOutputStream;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Set;
import org.junit.jupiter.api.Test;
import org.panamoe.backend.Variant;
import org.panamoe.checkpoint.Checkpoint;
import org.panamoe.checkpoint.Golden;
import org.panamoe.engine.Engine;
import org.panamoe.engine.Request;
import org.panamoe.engine.Sampling;
import org.panamoe.model.Model;

/** What the README shows is what runs here. */
final class ExampleTest {
    @Test
    void theReadmeShowsTheJavaExample() throws Exception {
        var lines = Files.readAllLines(Golden.root().resolve("java/engine/src/test/java/org/panamoe/Example.java"));
        int from = index(lines, "// README: from here") + 1, to = index(lines, "// README: to here");
        assertThat(to - from).isLessThanOrEqualTo(10);
        var shown = String.join("\n", lines.subList(from, to)).stripIndent();
        assertThat(Files.readString(Golden.root().resolve("README.md"))).contains(shown);
    }

    @Test
    void theReadmeShowsTheCExample() throws Exception {
        assertThat(Files.readString(Golden.root().resolve("README.md")))
                .contains(Files.readString(Golden.root().resolve("native/tests/example.c")));
    }

    @Test
    void theJavaExamplePrintsTokens() throws Exception {
        Path folder = Golden.trained();
        var printed = new ByteArrayOutputStream();
        var stdout = System.out;
        System.setOut(new PrintStream(printed, true, StandardCharsets.UTF_8));
        try {
            Example.main(new String[] {folder.toString()});
        } finally {
            System.setOut(stdout);
        }
        try (var checkpoint = Checkpoint.open(folder);
                var kernels = new Variant("cpu", "").open();
                var model = Model.load(checkpoint, kernels);
                var engine = new Engine(model, 64)) {
            var plain = engine.add(new Request(new int[] {0, 54, 85}, 20, Set.of(1), Sampling.greedy(), 0));
            while (engine.step()) {}
            assertThat(printed.toString(StandardCharsets.UTF_8).strip())
                    .isEqualTo(java.util.Arrays.toString(plain.tokens()));
        }
    }

    private static int index(List<String> lines, String marker) {
        for (int i = 0; i < lines.size(); i++) if (lines.get(i).strip().equals(marker)) return i;
        throw new AssertionError("no line " + marker);
    }
}
