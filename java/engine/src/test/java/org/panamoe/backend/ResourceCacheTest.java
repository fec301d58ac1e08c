package org.panamoe.backend;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import java.io.IOException;
import java.net.URL;
import java.net.URLClassLoader;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.attribute.PosixFilePermissions;
import java.security.MessageDigest;
import java.security.NoSuchAlgorithmException;
import java.util.Comparator;
import java.util.HexFormat;
import java.util.List;
import java.util.concurrent.CopyOnWriteArrayList;
import java.util.zip.ZipEntry;
import java.util.zip.ZipOutputStream;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

final class ResourceCacheTest {
    private static final String PROPERTY = "panamoe.cache.dir";
    private static final String CONFIG = "{\"model_type\": \"deepseek_v3\"}";
    private static final String WEIGHTS = "0123456789".repeat(1000);

    @TempDir
    Path temporary;

    private Path cache = Path.of("");

    @BeforeEach
    void cacheHere() {
        cache = temporary.resolve("cache");
        System.setProperty(PROPERTY, cache.toString());
    }

    @AfterEach
    void restore() {
        System.clearProperty(PROPERTY);
    }

    @Test
    void aFolderIsExtractedOnce() throws IOException {
        try (var loader = jar("a.jar", CONFIG, index(CONFIG))) {
            var folder = ResourceCache.folder(loader, "model");
            assertThat(folder.resolve("config.json")).hasContent(CONFIG);
            assertThat(folder.resolve("weights")).hasContent(WEIGHTS);
            assertThat(list(folder)).containsExactlyInAnyOrder("config.json", "weights");
            var first = Files.readAttributes(folder.resolve("weights"), "unix:ino");
            assertThat(ResourceCache.folder(loader, "model")).isEqualTo(folder);
            assertThat(Files.readAttributes(folder.resolve("weights"), "unix:ino"))
                    .isEqualTo(first);
        }
    }

    @Test
    void anotherContentIsAnotherFolder() throws IOException {
        try (var one = jar("a.jar", CONFIG, index(CONFIG));
                var other = jar("b.jar", "{}", index("{}"))) {
            var folder = ResourceCache.folder(one, "model");
            assertThat(ResourceCache.folder(other, "model")).isNotEqualTo(folder);
            assertThat(folder.resolve("config.json")).hasContent(CONFIG);
        }
    }

    @Test
    void aFileThatWasCutShortIsMended() throws IOException {
        try (var loader = jar("a.jar", CONFIG, index(CONFIG))) {
            var weights = ResourceCache.folder(loader, "model").resolve("weights");
            Files.writeString(weights, "0123");
            ResourceCache.folder(loader, "model");
            assertThat(weights).hasContent(WEIGHTS);
        }
    }

    @Test
    void aDamagedJarLeavesNothing() throws IOException {
        try (var loader = jar("a.jar", CONFIG, index("{}"))) {
            assertThatThrownBy(() -> ResourceCache.folder(loader, "model"))
                    .isInstanceOf(IOException.class)
                    .hasMessageContaining("config.json is damaged: its SHA-256 is not " + sha256("{}"));
            try (var files = Files.walk(cache)) {
                assertThat(files.filter(Files::isRegularFile)).isEmpty();
            }
        }
    }

    @Test
    void aLibraryMayBeExecuted() throws IOException {
        try (var loader = jar("a.jar", CONFIG, index(CONFIG))) {
            // Where no index lies beside it, the content itself is hashed: to the same folder.
            assertThat(ResourceCache.library(loader, "model/weights"))
                    .isExecutable()
                    .hasContent(WEIGHTS);
            assertThat(ResourceCache.library(loader, "alone/weights"))
                    .isEqualTo(ResourceCache.library(loader, "model/weights"));
        }
    }

    @Test
    void manyAtOnceSeeWholeFiles() throws Exception {
        try (var loader = jar("a.jar", CONFIG, index(CONFIG))) {
            var seen = new CopyOnWriteArrayList<String>();
            var threads = new Thread[8];
            for (int i = 0; i < threads.length; i++)
                threads[i] = Thread.ofPlatform().start(() -> {
                    try {
                        seen.add(Files.readString(
                                ResourceCache.folder(loader, "model").resolve("weights")));
                    } catch (IOException e) {
                        seen.add(e.toString());
                    }
                });
            for (var thread : threads) thread.join();
            assertThat(seen).hasSize(threads.length).containsOnly(WEIGHTS);
        }
    }

    @Test
    void everyFolderThatWillNotDoIsNamed() throws IOException {
        Files.writeString(cache, "a file where a folder should be");
        try (var loader = jar("a.jar", CONFIG, index(CONFIG))) {
            assertThatThrownBy(() -> ResourceCache.folder(loader, "model"))
                    .isInstanceOf(IOException.class)
                    .hasMessage(
                            "no folder to extract to (set -Dpanamoe.cache.dir=FOLDER): " + cache + ": is not a folder");
            assertThatThrownBy(() -> ResourceCache.folder(loader, "nothing"))
                    .hasMessage("there is no nothing/SHA256SUMS on the class path");
        }
    }

    @Test
    void onlyWhatNobodyElseMayWriteToIsTrusted() throws IOException {
        var ours = folder("ours", "rwx------");
        var link = Files.createSymbolicLink(temporary.resolve("link"), ours);
        try (var loader = jar("a.jar", CONFIG, index(CONFIG))) {
            for (var root : List.of(folder("open", "rwxrwxr-x"), folder("box", "rwxr-x-w-"), link)) {
                System.setProperty(PROPERTY, root.toString());
                assertThatThrownBy(() -> ResourceCache.folder(loader, "model"))
                        .isInstanceOf(IOException.class)
                        .hasMessageContaining(root + ": is not a folder of ours alone");
                assertThat(list(root)).isEmpty();
            }
            for (var root : List.of(ours, folder("readable", "rwxr-xr-x"))) {
                System.setProperty(PROPERTY, root.toString());
                assertThat(ResourceCache.folder(loader, "model")).isDirectory();
            }
        }
    }

    @Test
    void aLibraryIsNotPutWhereNothingMayBeExecuted() throws IOException {
        var noexec = Path.of("/dev/shm/panamoe-test-" + ProcessHandle.current().pid());
        assumeTrue(
                Files.isWritable(Path.of("/dev/shm"))
                        && Files.readString(Path.of("/proc/mounts")).matches("(?s).* /dev/shm \\S+ \\S*noexec.*"),
                "no noexec file system here");
        System.setProperty(PROPERTY, noexec.toString());
        try (var loader = jar("a.jar", CONFIG, index(CONFIG))) {
            assertThat(ResourceCache.folder(loader, "model")).isDirectory();
            assertThatThrownBy(() -> ResourceCache.library(loader, "model/weights"))
                    .isInstanceOf(IOException.class)
                    .hasMessageEndingWith(noexec + ": execution is not allowed there (noexec)");
        } finally {
            try (var files = Files.walk(noexec)) {
                for (var file : files.sorted(Comparator.reverseOrder()).toList()) Files.delete(file);
            }
        }
    }

    private Path folder(String name, String permissions) throws IOException {
        var folder = Files.createDirectory(temporary.resolve(name));
        return Files.setPosixFilePermissions(folder, PosixFilePermissions.fromString(permissions));
    }

    private static String index(String config) {
        return sha256(config) + "  config.json\n" + sha256(WEIGHTS) + "  weights\n";
    }

    private URLClassLoader jar(String name, String config, String index) throws IOException {
        var jar = temporary.resolve(name);
        try (var zip = new ZipOutputStream(Files.newOutputStream(jar))) {
            for (var entry : List.of(
                    List.of("model/SHA256SUMS", index),
                    List.of("model/config.json", config),
                    List.of("model/weights", WEIGHTS),
                    List.of("alone/weights", WEIGHTS))) {
                zip.putNextEntry(new ZipEntry(entry.get(0)));
                zip.write(entry.get(1).getBytes(StandardCharsets.UTF_8));
            }
        }
        return new URLClassLoader(new URL[] {jar.toUri().toURL()}, null);
    }

    private static List<String> list(Path folder) throws IOException {
        try (var files = Files.list(folder)) {
            return files.map(file -> file.getFileName().toString()).toList();
        }
    }

    private static String sha256(String text) {
        try {
            return HexFormat.of()
                    .formatHex(MessageDigest.getInstance("SHA-256").digest(text.getBytes(StandardCharsets.UTF_8)));
        } catch (NoSuchAlgorithmException e) {
            throw new AssertionError(e);
        }
    }
}
