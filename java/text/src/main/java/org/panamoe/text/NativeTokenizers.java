package org.panamoe.text;

import ai.djl.huggingface.tokenizers.jni.TokenizersLibrary;
import java.io.IOException;
import java.net.URL;
import java.net.URLConnection;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.util.Locale;
import java.util.Objects;
import java.util.Properties;
import org.jspecify.annotations.Nullable;

/**
 * The Hugging Face tokenizers library (Rust), as it travels in DJL's jar.
 *
 * <p>Only DJL's class of native methods is used, never its Java front: that one looks for CUDA through JNA, may fetch a
 * CUDA build of itself, phones home, logs to SLF4J, and truncates at 512 tokens unless told otherwise. None of it is on
 * our class path, so nothing has to be switched off by system properties of the host's JVM.
 */
final class NativeTokenizers {
    private static final @Nullable String FAILURE = load();

    private NativeTokenizers() {}

    static TokenizersLibrary library() {
        if (FAILURE != null) {
            throw new IllegalStateException("Hugging Face tokenizers library: " + FAILURE);
        }
        return TokenizersLibrary.LIB;
    }

    /** Extracts the library once into the user's cache; null once it is loaded, else why it is not. */
    private static @Nullable String load() {
        String os = System.getProperty("os.name").toLowerCase(Locale.ROOT).startsWith("mac") ? "osx" : "linux";
        String arch = System.getProperty("os.arch").equals("amd64") ? "x86_64" : System.getProperty("os.arch");
        String platform = os + "-" + arch;
        String file = System.mapLibraryName("tokenizers");
        ClassLoader jar = TokenizersLibrary.class.getClassLoader();
        URL library = jar.getResource("native/lib/" + platform + "/cpu/" + file);
        if (library == null) {
            return "there is no build for " + platform;
        }
        String inCache;
        try (var in = jar.getResourceAsStream("native/lib/tokenizers.properties")) {
            var properties = new Properties();
            properties.load(Objects.requireNonNull(in));
            Path folder = cache().resolve("tokenizers-" + properties.getProperty("version") + "-" + platform);
            System.load(extract(library, folder, file).toString());
            return null;
        } catch (IllegalCallerException e) { // native access is denied to this module
            return e.getMessage();
        } catch (IOException | UnsatisfiedLinkError e) { // read only, full, noexec, an old libc
            inCache = e.toString();
        }
        try {
            Path folder = Files.createTempDirectory("panamoe"); // nobody else may write there
            try {
                System.load(extract(library, folder, file).toString());
                return null;
            } finally { // a loaded library needs no name
                Files.deleteIfExists(folder.resolve(file));
                Files.delete(folder);
            }
        } catch (IOException | UnsatisfiedLinkError e) {
            return inCache + "; " + e;
        }
    }

    /** {@code -Dpanamoe.cache.dir}, else the user's cache. */
    private static Path cache() throws IOException {
        String asked = System.getProperty("panamoe.cache.dir");
        if (asked != null) {
            return Path.of(asked).toAbsolutePath();
        }
        String xdg = System.getenv("XDG_CACHE_HOME");
        Path user = xdg == null || xdg.isEmpty() ? Path.of(System.getProperty("user.home"), ".cache") : Path.of(xdg);
        // Java says "?" where it knows no home.
        if (!user.isAbsolute()) {
            throw new IOException("there is no home folder for a cache: " + user);
        }
        return user.resolve("panamoe");
    }

    /** A library of the right size is taken as it is; a new one appears whole, by renaming, for all processes at once. */
    private static Path extract(URL library, Path folder, String file) throws IOException {
        URLConnection source = library.openConnection();
        Path target = folder.resolve(file);
        if (Files.isRegularFile(target) && Files.size(target) == source.getContentLengthLong()) {
            return target;
        }
        Files.createDirectories(folder);
        Path part = Files.createTempFile(folder, file, ".part");
        try (var in = source.getInputStream()) {
            Files.copy(in, part, StandardCopyOption.REPLACE_EXISTING);
            return Files.move(part, target, StandardCopyOption.ATOMIC_MOVE);
        } finally {
            Files.deleteIfExists(part);
        }
    }
}
