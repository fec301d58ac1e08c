package org.panamoe.cli;

import static org.assertj.core.api.Assertions.assertThat;
import static org.junit.jupiter.api.Assumptions.abort;

import java.io.IOException;
import java.net.ServerSocket;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** No command opens a socket: a library that is loaded first, see sockets.c, writes down every use of one. */
class SocketTest {
    private static final Path RESOURCES =
            Path.of(System.getProperty("panamoe.root"), "java", "cli", "src", "test", "resources");

    @TempDir
    private Path folder;

    private Path log = Path.of("");
    private List<String> environment = List.of();

    @BeforeEach
    void compileTheDetector() throws IOException, InterruptedException {
        var library = folder.resolve("sockets.so");
        log = folder.resolve("sockets.log");
        environment = List.of("LD_PRELOAD=" + library, "SOCKET_LOG=" + log);
        for (String compiler : List.of("cc", "gcc", "clang")) if (compile(compiler, library)) return;
        abort("there is no C compiler");
    }

    private static boolean compile(String compiler, Path library) throws InterruptedException {
        var source = RESOURCES.resolve("sockets.c").toString();
        try {
            return new ProcessBuilder(compiler, "-shared", "-fPIC", "-o", library.toString(), source, "-ldl")
                            .inheritIO()
                            .start()
                            .waitFor()
                    == 0;
        } catch (IOException e) {
            return false; // not installed
        }
    }

    @ParameterizedTest
    @ValueSource(
            strings = {
                "generate Once --max-tokens 3",
                "logits --tokens 1,2 --output OUT",
                "trace --file TALE --output OUT",
                "perplexity --file TALE",
                "inspect",
                "doctor"
            })
    void noCommandOpensOne(String line) throws IOException, InterruptedException {
        String[] args = line.replace("OUT", folder.resolve("out").toString())
                .replace("TALE", RESOURCES.resolve("tale.txt").toString())
                .split(" ");
        try (var child = Child.panamoe(folder, environment, args)) {
            var run = child.end();
            assertThat(run.code()).as(run.err()).isZero();
            assertThat(Files.exists(log) ? Files.readString(log) : "").isEmpty();
        }
    }

    /** The detector can see one. */
    @Test
    void aSocketIsNoticed() throws IOException, InterruptedException {
        try (var child = new Child(folder, OpensSocket.class, environment, Path.of(""))) {
            assertThat(child.end()).isEqualTo(new Run(0, "", ""));
            assertThat(Files.readString(log)).contains("socket from ", "bind from ");
        }
    }

    /** The counter-example. */
    static final class OpensSocket {
        private OpensSocket() {}

        public static void main(String[] args) throws IOException {
            new ServerSocket(0).close();
        }
    }
}
