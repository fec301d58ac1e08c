package org.panamoe.cli;

import java.io.BufferedOutputStream;
import java.io.IOException;
import java.io.OutputStream;
import java.nio.file.FileSystemException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;

/**
 * A file that appears whole or not at all: written beside its place, then renamed. What is there and is no ordinary file,
 * a pipe or a device, is written to directly.
 */
final class OutputFile {
    @FunctionalInterface
    interface Content {
        void write(OutputStream out) throws IOException;
    }

    private OutputFile() {}

    /**
     * Finds out, before the work is done, what would make it useless.
     *
     * @throws IOException if the file is a folder, or lies in none
     */
    static void check(Path file) throws IOException {
        if (Files.isDirectory(file)) throw new IOException(file + ": is a folder");
        var folder = file.toAbsolutePath().getParent();
        if (folder != null && !Files.isDirectory(folder))
            throw new IOException(file + ": there is no folder " + folder);
    }

    /** @throws IOException that names the file */
    static void write(Path file, Content content) throws IOException {
        // Through links: that of a pipe leads nowhere.
        boolean direct = Files.exists(file) && !Files.isRegularFile(file);
        Path target = !direct && Files.isSymbolicLink(file) && Files.exists(file) ? file.toRealPath() : file;
        Path part = direct
                ? target
                : target.resolveSibling(
                        target.getFileName() + "." + ProcessHandle.current().pid() + ".part");
        if (!direct) part.toFile().deleteOnExit(); // for Ctrl-C
        try {
            try (var out = new BufferedOutputStream(Files.newOutputStream(part), 1 << 16)) {
                content.write(out);
            }
            if (!direct) Files.move(part, target, StandardCopyOption.ATOMIC_MOVE);
        } catch (FileSystemException e) {
            throw new IOException(file + ": " + Reason.problem(e), e);
        } catch (IOException e) {
            throw new IOException(file + ": " + e.getMessage(), e);
        } finally {
            // If it cannot be deleted it stays: the failure that brought us here is the one to tell.
            if (!direct) part.toFile().delete();
        }
    }
}
