package org.panamoe.cli;

import static org.assertj.core.api.Assertions.assertThat;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.TestReporter;
import org.junit.jupiter.api.io.TempDir;

/** What only a process of its own shows. */
class ProcessTest {
    private static final String[] LONG = {"generate", "Once upon a time", "--max-tokens", "500", "--temperature", "0"};

    @TempDir
    private Path folder;

    /**
     * The goal is 1.5 s on two processors with the launcher's cache of classes. Here there is no cache and other work may
     * have the processors, so what counts is the processors' time, of which there is twice as much.
     */
    @Test
    void startsSoonAndPrintsNothingElse(TestReporter reporter) throws IOException, InterruptedException {
        var golden = Golden.all().findFirst().orElseThrow();
        ModelOption.embedded(); // extracted
        long start = System.nanoTime();
        try (var child = Child.panamoe(
                folder, List.of(), "generate", golden.prompt(), "--temperature", "0", "--max-tokens", "40")) {
            int first = child.process.getInputStream().read();
            var taken = Duration.ofNanos(System.nanoTime() - start);
            var busy = child.process.info().totalCpuDuration().orElseThrow();
            reporter.publishEntry(
                    "until the first character",
                    "%d ms, %d ms of the processors' time".formatted(taken.toMillis(), busy.toMillis()));
            var run = child.end();
            assertThat((char) first + run.out()).isEqualTo(golden.text() + "\n");
            assertThat(run.err().lines().map(line -> line.split(" ", 2)[0]))
                    .containsExactly("speed", "routing", "drafts", "machine");
            assertThat(run.code()).isZero();
            assertThat(busy).isLessThan(Duration.ofSeconds(5));
        }
    }

    @Test
    void ctrlCEndsQuietly() throws IOException, InterruptedException {
        try (var child = Child.panamoe(folder, List.of("--default-signal=INT"), LONG)) {
            int first = child.process.getInputStream().read();
            assertThat(first).isNotNegative();
            assertThat(new ProcessBuilder("kill", "-INT", "" + child.process.pid())
                            .start()
                            .waitFor())
                    .isZero();
            var run = child.end();
            assertThat(run.code()).isEqualTo(130);
            assertThat(run.err()).isEmpty();
        }
    }

    @Test
    void aReaderWhoLeavesEndsIt() throws IOException, InterruptedException {
        try (var child = Child.panamoe(folder, List.of(), LONG)) {
            child.process.getInputStream().read();
            child.process.getInputStream().close();
            var run = child.end();
            assertThat(run.err()).isEqualTo("panamoe: stdout: Broken pipe\n");
            assertThat(run.code()).isEqualTo(1);
        }
    }

    @Test
    void aFullDiskBehindStdout() throws IOException, InterruptedException {
        var full = Path.of("/dev/full");
        assumeTrue(Files.exists(full), "this system has no /dev/full");
        try (var child = new Child(folder, Main.class, List.of(), full, "inspect")) {
            assertThat(child.end()).isEqualTo(new Run(1, "", "panamoe: stdout: No space left on device\n"));
        }
    }

    @Test
    void aLocaleThatCannotSayThePrompt() throws IOException, InterruptedException {
        try (var child = Child.panamoe(folder, List.of("LC_ALL=C"), "generate", "wait \u2014 what?")) {
            var run = child.end();
            assertThat(run.err()).contains("LC_ALL=C.UTF-8");
            assertThat(run.err().lines()).hasSize(1);
            assertThat(run.code()).isEqualTo(1);
        }
    }
}
