package org.panamoe;

import static org.assertj.core.api.Assertions.assertThat;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.TimeUnit;

/** Another JVM, for what one JVM cannot be asked twice: its module path, its memory from the start. */
public final class Jvm {
    private Jvm() {}

    /** What {@code main} printed, on either stream, having succeeded. */
    public static String run(List<String> options, Class<?> main, String... arguments)
            throws IOException, InterruptedException {
        var command = new ArrayList<String>();
        command.add(Path.of(System.getProperty("java.home"), "bin", "java").toString());
        command.addAll(options);
        var library = System.getProperty("panamoe.library.path");
        if (library != null) command.add("-Dpanamoe.library.path=" + library);
        command.add(main.getName());
        command.addAll(List.of(arguments));
        var output = Files.createTempFile("panamoe", ".txt");
        try {
            var process = new ProcessBuilder(command)
                    .redirectErrorStream(true)
                    .redirectOutput(output.toFile())
                    .start();
            assertThat(process.waitFor(60, TimeUnit.SECONDS)).as("ends").isTrue();
            var text = Files.readString(output);
            assertThat(process.exitValue()).as(text).isZero();
            return text;
        } finally {
            Files.delete(output);
        }
    }
}
