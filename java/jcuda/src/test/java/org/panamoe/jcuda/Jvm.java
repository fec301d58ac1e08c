package org.panamoe.jcuda;

import static org.assertj.core.api.Assertions.assertThat;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.concurrent.TimeUnit;

/** Another JVM, for what one JVM cannot be asked twice: its libraries, its module path. */
public final class Jvm {
    public static final String CLASS_PATH = System.getProperty("java.class.path");

    private Jvm() {}

    /** What {@code main} printed, on either stream, having succeeded. */
    public static String run(Map<String, String> environment, List<String> options, Class<?> main, String... arguments)
            throws IOException, InterruptedException {
        var command = new ArrayList<String>();
        command.add(Path.of(System.getProperty("java.home"), "bin", "java").toString());
        command.addAll(options);
        command.add(main.getName());
        command.addAll(List.of(arguments));
        var output = Files.createTempFile("panamoe", ".txt");
        try {
            var builder = new ProcessBuilder(command).redirectErrorStream(true).redirectOutput(output.toFile());
            builder.environment().putAll(environment);
            var process = builder.start();
            assertThat(process.waitFor(120, TimeUnit.SECONDS)).as("ends").isTrue();
            var text = Files.readString(output);
            assertThat(process.exitValue()).as(text).isZero();
            return text;
        } finally {
            Files.delete(output);
        }
    }
}
