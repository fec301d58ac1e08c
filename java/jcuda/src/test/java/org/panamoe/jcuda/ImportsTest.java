package org.panamoe.jcuda;

import static org.assertj.core.api.Assertions.assertThat;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.regex.Pattern;
import org.junit.jupiter.api.Test;

/** JCuda is known in this module alone: a program without a driver must not touch it by chance. */
final class ImportsTest {
    private static final Path ROOT = Path.of(System.getProperty("panamoe.root"));
    private static final Pattern JCUDA = Pattern.compile("(?<!panamoe\\.)\\bjcuda\\.(driver|runtime|nvrtc|[A-Z])");

    @Test
    void nobodyElseUsesJCuda() throws IOException {
        assertThat(users("java")).isNotEmpty().allMatch(file -> file.startsWith("java/jcuda/"));
        assertThat(users("benchmarks")).isEmpty();
    }

    private static List<String> users(String folder) throws IOException {
        try (var files = Files.walk(ROOT.resolve(folder))) {
            return files.filter(file -> file.toString().endsWith(".java"))
                    .filter(file -> !file.toString().contains("/target/"))
                    .filter(file -> JCUDA.matcher(read(file)).find())
                    .map(file -> ROOT.relativize(file).toString())
                    .toList();
        }
    }

    private static String read(Path file) {
        try {
            return Files.readString(file);
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
    }
}
