package org.panamoe.cli;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.TimeUnit;

/** A JVM of its own, started as the launcher starts it; its standard error goes to a file. */
final class Child implements AutoCloseable {
    private static final Path JAVA = Path.of(System.getProperty("java.home"), "bin", "java");
    private static final int PATIENCE_SECONDS = 120;

    final Process process;
    private final Path err;

    /** @param main the class to run */
    Child(Path folder, Class<?> main, List<String> environment, Path out, String... args) throws IOException {
        err = Files.createTempFile(folder, "stderr", "");
        // Through env, for its --default-signal: who runs tests in the background may ignore SIGINT.
        var command = new ArrayList<>(List.of("env"));
        command.addAll(environment);
        command.addAll(List.of(JAVA.toString(), "-XX:+UseSerialGC", "--enable-native-access=ALL-UNNAMED"));
        command.addAll(List.of("-Xlog:disable", "-Xlog:all=warning:stderr"));
        for (String property : List.of("panamoe.library.path", "panamoe.cache.dir"))
            if (System.getProperty(property) != null) command.add("-D" + property + "=" + System.getProperty(property));
        command.addAll(List.of("-cp", System.getProperty("java.class.path"), main.getName()));
        command.addAll(List.of(args));
        process = new ProcessBuilder(command)
                .redirectError(err.toFile())
                .redirectOutput(
                        out.toString().isEmpty()
                                ? ProcessBuilder.Redirect.PIPE
                                : ProcessBuilder.Redirect.to(out.toFile()))
                .start();
        process.getOutputStream().close();
    }

    /** The program; its standard output can be read from {@link #process}. */
    static Child panamoe(Path folder, List<String> environment, String... args) throws IOException {
        return new Child(folder, Main.class, environment, Path.of(""), args);
    }

    /** Waits for the end, and reads what is left of standard output. */
    Run end() throws IOException, InterruptedException {
        String out = "";
        try (var stream = process.getInputStream()) {
            out = new String(stream.readAllBytes(), java.nio.charset.StandardCharsets.UTF_8);
        } catch (IOException e) {
            // closed by the test
        }
        if (!process.waitFor(PATIENCE_SECONDS, TimeUnit.SECONDS)) throw new AssertionError("still running");
        return new Run(process.exitValue(), out, Files.readString(err));
    }

    @Override
    public void close() {
        process.destroyForcibly();
    }
}
