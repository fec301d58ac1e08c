package org.panamoe.backend;

import java.io.IOException;
import java.lang.foreign.Arena;
import java.lang.foreign.SymbolLookup;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Locale;

/**
 * Finds back ends by name. "reference" is plain Java; any other name is a library {@code libpanamoe_<name>.so}, looked
 * for where the system property {@code panamoe.library.path} says (a file, or the folder it lies in), else among the
 * resources {@code META-INF/panamoe/<os>-<arch>/} of the class path.
 */
public final class Backend {
    /** Either {@link Ready} or {@link Absent}. */
    public sealed interface Found {}

    public record Ready(Kernels kernels) implements Found {}

    /** There is no such back end here, or it cannot run on this machine. */
    public record Absent(String reason) implements Found {}

    private Backend() {}

    /** The back ends that are part of Panamoe, whether they are here or not. */
    public static List<String> names() {
        return List.of("cpu", "cuda", "cudaemu", "reference");
    }

    /** Opens a back end as it opens by default. */
    public static Found find(String name) {
        return find(name, "");
    }

    /**
     * Opens a back end.
     *
     * @param options key=value pairs separated by spaces, see pm_open in panamoe.h
     * @throws IllegalArgumentException if the back end is here but refuses {@code options}
     */
    public static Found find(String name, String options) {
        if (!name.matches("[a-z][a-z0-9]*")) throw new IllegalArgumentException("a back end cannot be called " + name);
        if (options.chars().anyMatch(Character::isISOControl))
            throw new IllegalArgumentException("options of one line, please: " + options);
        if (name.equals("reference")) {
            if (!options.isBlank()) throw new IllegalArgumentException("reference takes no options: " + options);
            return new Ready(new ReferenceKernels());
        }
        SymbolLookup library;
        try {
            library = load(library(name));
        } catch (IOException e) {
            return new Absent(String.valueOf(e.getMessage()));
        }
        try {
            return new Ready(new NativeKernels(library, options));
        } catch (KernelException refused) {
            // Whose fault is it? The options', if the back end opens without them.
            if (options.isBlank() || !opens(library)) return new Absent(String.valueOf(refused.getMessage()));
            throw new IllegalArgumentException(refused.getMessage(), refused);
        }
    }

    /** Opens a back end as it opens by default. */
    public static Kernels require(String name) {
        return require(name, "");
    }

    /** @throws IllegalStateException if it is absent, with the reason */
    public static Kernels require(String name, String options) {
        return switch (find(name, options)) {
            case Ready(var kernels) -> kernels;
            case Absent(var reason) -> throw new IllegalStateException("back end %s: %s".formatted(name, reason));
        };
    }

    private static boolean opens(SymbolLookup library) {
        try {
            new NativeKernels(library, "").close();
            return true;
        } catch (KernelException e) {
            return false;
        }
    }

    /**
     * The library of a back end, extracted if need be, for those who call it without {@link Kernels}.
     *
     * @throws IOException if there is none, or no folder to extract it to
     */
    public static Path library(String name) throws IOException {
        var file = System.mapLibraryName("panamoe_" + name);
        var given = System.getProperty("panamoe.library.path");
        if (given == null)
            return ResourceCache.library(Backend.class.getClassLoader(), "META-INF/panamoe/" + platform() + "/" + file);
        var path = Path.of(given).toAbsolutePath();
        if (Files.isDirectory(path)) path = path.resolve(file);
        if (!Files.isRegularFile(path)) throw new IOException("panamoe.library.path: there is no file " + path);
        return path;
    }

    /** A library is never unloaded: its threads and its memory may outlive whoever opened it. */
    private static SymbolLookup load(Path file) throws IOException {
        try {
            return SymbolLookup.libraryLookup(file, Arena.global());
        } catch (IllegalArgumentException e) {
            throw new IOException(
                    file + " cannot be loaded: damaged, for another machine, or a library that it needs is missing", e);
        }
    }

    private static String platform() {
        var os = System.getProperty("os.name").toLowerCase(Locale.ROOT);
        var arch = System.getProperty("os.arch");
        return os + "-" + (arch.equals("amd64") ? "x86_64" : arch);
    }
}
