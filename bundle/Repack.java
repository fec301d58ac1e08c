import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.function.Predicate;
import java.util.regex.Pattern;
import java.util.zip.CRC32;
import java.util.zip.ZipEntry;
import java.util.zip.ZipInputStream;
import java.util.zip.ZipOutputStream;

/**
 * Copies the jars below one folder to another, their content stored and not compressed, so that an archive of all of them
 * finds what they have in common; libraries of other platforms stay out.
 *
 * <pre>java Repack.java FROM TO</pre>
 */
final class Repack {
    private static final Predicate<String> OF_OTHER_PLATFORMS =
            Pattern.compile("native/lib/(?!linux-x86_64/)[^/]+/.*").asMatchPredicate();

    public static void main(String[] args) throws IOException {
        Path from = Path.of(args[0]), to = Path.of(args[1]);
        try (var files = Files.walk(from)) {
            files.filter(file -> file.toString().endsWith(".jar"))
                    .forEach(jar -> repack(jar, to.resolve(from.relativize(jar))));
        }
    }

    private static void repack(Path from, Path to) {
        try {
            Files.createDirectories(to.getParent());
            try (var in = new ZipInputStream(Files.newInputStream(from));
                    var out = new ZipOutputStream(Files.newOutputStream(to))) {
                for (var entry = in.getNextEntry(); entry != null; entry = in.getNextEntry()) {
                    if (entry.isDirectory() || OF_OTHER_PLATFORMS.test(entry.getName())) continue;
                    store(out, entry, in.readAllBytes());
                }
            }
        } catch (IOException e) {
            throw new UncheckedIOException(from.toString(), e);
        }
    }

    private static void store(ZipOutputStream out, ZipEntry entry, byte[] content) throws IOException {
        var crc = new CRC32();
        crc.update(content);
        var stored = new ZipEntry(entry.getName());
        stored.setMethod(ZipEntry.STORED);
        stored.setSize(content.length);
        stored.setCrc(crc.getValue());
        stored.setTime(entry.getTime());
        out.putNextEntry(stored);
        out.write(content);
        out.closeEntry();
    }
}
