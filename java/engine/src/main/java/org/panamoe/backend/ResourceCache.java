package org.panamoe.backend;

import java.io.FileNotFoundException;
import java.io.IOException;
import java.io.InputStream;
import java.net.URL;
import java.nio.charset.StandardCharsets;
import java.nio.file.AccessDeniedException;
import java.nio.file.FileAlreadyExistsException;
import java.nio.file.Files;
import java.nio.file.LinkOption;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.nio.file.attribute.PosixFileAttributes;
import java.nio.file.attribute.PosixFilePermission;
import java.nio.file.attribute.PosixFilePermissions;
import java.security.DigestOutputStream;
import java.security.MessageDigest;
import java.security.NoSuchAlgorithmException;
import java.util.ArrayList;
import java.util.HexFormat;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;

/**
 * Turns resources of the class path into files that can be mapped or loaded. Each lies in a folder that is named after
 * the hash of its content, so versions live side by side and a file, once there, is never written again.
 *
 * <p>The folders lie in the system property {@code panamoe.cache.dir}, or else in the user's own part of the temporary
 * folder, or where that will not do (no space, no execution) in {@code ~/.cache/panamoe}. Each must be ours, and nobody
 * else may write to it.
 */
public final class ResourceCache {
    /** Beside the resources: their hashes, as {@code sha256sum} prints them. */
    private static final String INDEX = "SHA256SUMS";

    private static final Path TEMPORARY =
            Path.of(System.getProperty("java.io.tmpdir"), "panamoe-" + System.getProperty("user.name"));

    private static final Set<PosixFilePermission> OWNER_ONLY = PosixFilePermissions.fromString("rwx------");

    private ResourceCache() {}

    /**
     * One resource, executable. If no index lies beside it, its content is read and hashed each time.
     *
     * @throws IOException says for each folder that was tried why it will not do
     */
    public static Path library(ClassLoader loader, String resource) throws IOException {
        int slash = resource.lastIndexOf('/') + 1;
        var name = resource.substring(slash);
        var source = find(loader, resource);
        var index = loader.getResource(resource.substring(0, slash) + INDEX);
        var hash = index == null ? null : index(index).get(name);
        var sha256 = hash == null ? hash(source) : hash;
        return firstThatWorks(root -> {
            var file = extract(source, sha256, root.resolve(sha256.substring(0, 16)), name);
            if (!Files.isExecutable(file)) throw new IOException("execution is not allowed there (noexec)");
            return file;
        });
    }

    /**
     * All files that the index in a folder of resources names.
     *
     * @throws IOException says for each folder that was tried why it will not do
     */
    public static Path folder(ClassLoader loader, String resources) throws IOException {
        var index = find(loader, resources + "/" + INDEX);
        var key = hash(index).substring(0, 16);
        var files = index(index);
        return firstThatWorks(root -> {
            var folder = root.resolve(key);
            for (var file : files.entrySet())
                extract(find(loader, resources + "/" + file.getKey()), file.getValue(), folder, file.getKey());
            return folder;
        });
    }

    private interface Attempt {
        Path in(Path root) throws IOException;
    }

    private static Path firstThatWorks(Attempt attempt) throws IOException {
        var failures = new ArrayList<String>();
        for (var root : roots()) {
            try {
                create(root);
                requireOurs(root);
                return attempt.in(root);
            } catch (IOException e) {
                failures.add(root + ": " + e.getMessage());
            }
        }
        throw new IOException(
                "no folder to extract to (set -Dpanamoe.cache.dir=FOLDER): " + String.join("; ", failures));
    }

    private static List<Path> roots() {
        var given = System.getProperty("panamoe.cache.dir");
        if (given != null) return List.of(Path.of(given).toAbsolutePath());
        return List.of(TEMPORARY, Path.of(System.getProperty("user.home"), ".cache", "panamoe"));
    }

    private static void create(Path root) throws IOException {
        if (Files.isDirectory(root)) return;
        try {
            Files.createDirectories(root, PosixFilePermissions.asFileAttribute(OWNER_ONLY));
        } catch (FileAlreadyExistsException e) {
            throw new IOException("is not a folder", e);
        } catch (AccessDeniedException e) {
            throw new IOException("cannot be created: no permission", e);
        }
    }

    /**
     * What we run from there nobody else may have put there. That others may read is no harm; the tokenizers' library,
     * which shares the folder in the user's cache, may have made it so.
     */
    private static void requireOurs(Path root) throws IOException {
        var found = Files.readAttributes(root, PosixFileAttributes.class, LinkOption.NOFOLLOW_LINKS);
        var us = Files.getOwner(Path.of("/proc/self"));
        if (!found.isDirectory()
                || !found.owner().equals(us)
                || found.permissions().contains(PosixFilePermission.GROUP_WRITE)
                || found.permissions().contains(PosixFilePermission.OTHERS_WRITE))
            throw new IOException("is not a folder of ours alone, but of %s with %s"
                    .formatted(found.owner(), PosixFilePermissions.toString(found.permissions())));
    }

    /** Written beside its place and then renamed, so that nobody ever sees half a file. */
    private static Path extract(URL source, String sha256, Path folder, String name) throws IOException {
        var target = folder.resolve(name);
        var connection = source.openConnection();
        connection.setUseCaches(false);
        try (var in = connection.getInputStream()) {
            if (Files.isRegularFile(target) && Files.size(target) == connection.getContentLengthLong()) return target;
            Files.createDirectories(folder);
            var part = Files.createTempFile(folder, name, ".part", PosixFilePermissions.asFileAttribute(OWNER_ONLY));
            try {
                var digest = sha256();
                try (var out = new DigestOutputStream(Files.newOutputStream(part), digest)) {
                    in.transferTo(out);
                }
                if (!HexFormat.of().formatHex(digest.digest()).equals(sha256))
                    throw new IOException(source + " is damaged: its SHA-256 is not " + sha256);
                return Files.move(part, target, StandardCopyOption.ATOMIC_MOVE);
            } finally {
                Files.deleteIfExists(part);
            }
        }
    }

    private static URL find(ClassLoader loader, String resource) throws IOException {
        var url = loader.getResource(resource);
        if (url == null) throw new FileNotFoundException("there is no " + resource + " on the class path");
        return url;
    }

    private static Map<String, String> index(URL index) throws IOException {
        var hashes = new LinkedHashMap<String, String>();
        try (var in = index.openStream()) {
            for (var line : new String(in.readAllBytes(), StandardCharsets.UTF_8)
                    .lines()
                    .toList()) {
                if (!line.matches("[0-9a-f]{64} [ *][^/]+")) throw new IOException(index + " has the line " + line);
                hashes.put(line.substring(66), line.substring(0, 64));
            }
        }
        return hashes;
    }

    private static String hash(URL source) throws IOException {
        try (InputStream in = source.openStream()) {
            return HexFormat.of().formatHex(sha256().digest(in.readAllBytes()));
        }
    }

    private static MessageDigest sha256() {
        try {
            return MessageDigest.getInstance("SHA-256");
        } catch (NoSuchAlgorithmException e) {
            throw new AssertionError(e); // every JDK has it
        }
    }
}
