package org.panamoe.text;

import static org.assertj.core.api.Assertions.assertThat;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Set;
import java.util.TreeSet;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** In a JVM of its own: prints nothing, opens no socket, loads nothing of DJL but its native methods, keeps one file. */
final class QuietTest {
    @TempDir
    Path temporary;

    /** The child: works, and says how many sockets are open at the end. */
    static final class Child {
        private Child() {}

        public static void main(String[] folder) throws IOException {
            try (var tokenizer = Tokenizer.open(Path.of(folder[0]))) {
                String text = tokenizer.decode(tokenizer.encodePrompt("Once upon a time"));
                if (!text.equals("Once upon a time")) {
                    throw new AssertionError(text);
                }
                try (var open = Files.newDirectoryStream(Path.of("/proc/self/fd"))) {
                    for (Path descriptor : open) {
                        if (Files.isSymbolicLink(descriptor)
                                && Files.readSymbolicLink(descriptor).toString().startsWith("socket:")) {
                            throw new AssertionError("a socket is open");
                        }
                    }
                }
            }
        }
    }

    @Test
    void worksInSilence() throws IOException, InterruptedException {
        Path cache = temporary.resolve("cache");
        for (int round = 0; round < 2; round++) { // extracts its library, then finds it
            run(cache);
            assertThat(files(cache)).singleElement().asString().matches("tokenizers-[^/]*/libtokenizers\\.so");
        }
        // A copy cut short (a full disk, say) is replaced.
        Path library = cache.resolve(files(cache).iterator().next());
        byte[] whole = Files.readAllBytes(library);
        Files.write(library, new byte[100]);
        run(cache);
        assertThat(Files.readAllBytes(library)).isEqualTo(whole);
    }

    @Test
    void doesWithoutACache() throws IOException, InterruptedException {
        Path occupied = Files.writeString(temporary.resolve("file"), "no folder");
        run(occupied);
        try (var left = Files.list(temporary)) {
            assertThat(left.map(path -> path.getFileName().toString()))
                    .containsExactlyInAnyOrder("file", "classes.txt", "output.txt");
        }
    }

    private void run(Path cache) throws IOException, InterruptedException {
        Path classes = temporary.resolve("classes.txt");
        Path output = temporary.resolve("output.txt");
        List<String> command = new ArrayList<>(List.of(
                Path.of(System.getProperty("java.home"), "bin", "java").toString(),
                "--enable-native-access=ALL-UNNAMED",
                "--illegal-native-access=deny",
                "-Xlog:disable",
                "-Xlog:class+load=info:file=" + classes,
                "-Djava.io.tmpdir=" + temporary,
                "-Dpanamoe.cache.dir=" + cache,
                "-cp",
                System.getProperty("java.class.path"),
                Child.class.getName(),
                TinyV3.FOLDER.toString()));
        Process child = new ProcessBuilder(command)
                .redirectErrorStream(true)
                .redirectOutput(output.toFile())
                .start();
        assertThat(child.waitFor(60, TimeUnit.SECONDS)).isTrue();
        assertThat(Files.readString(output)).isEmpty();
        assertThat(child.exitValue()).isZero();

        Set<String> loaded = new TreeSet<>();
        for (String line : Files.readAllLines(classes)) {
            loaded.add(line.replaceFirst("^\\S*\\s*", "").replaceFirst(" .*", ""));
        }
        assertThat(loaded).contains("org.panamoe.text.Tokenizer");
        assertThat(loaded)
                .filteredOn(name -> name.startsWith("ai.djl."))
                .containsExactly("ai.djl.huggingface.tokenizers.jni.TokenizersLibrary");
        assertThat(loaded).doesNotContain("java.net.Socket", "java.net.DatagramSocket", "sun.nio.ch.Net");
    }

    private static Set<String> files(Path folder) throws IOException {
        Set<String> files = new TreeSet<>();
        try (var all = Files.walk(folder)) {
            all.filter(Files::isRegularFile)
                    .forEach(file -> files.add(folder.relativize(file).toString()));
        }
        return files;
    }
}
