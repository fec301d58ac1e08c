package org.panamoe.cli;

import java.nio.file.AccessDeniedException;
import java.nio.file.DirectoryNotEmptyException;
import java.nio.file.FileAlreadyExistsException;
import java.nio.file.FileSystemException;
import java.nio.file.NoSuchFileException;
import java.nio.file.NotDirectoryException;
import org.panamoe.backend.KernelException;
import picocli.CommandLine.ParameterException;

/** What to tell the user of a failure, in one line. */
final class Reason {
    private Reason() {}

    static String of(Throwable e) {
        return switch (e) {
            case FileSystemException file -> oneLine(file.getFile() + ": " + problem(file));
            case OutOfMemoryError memory -> oneLine("out of memory: " + memory.getMessage());
            case java.io.IOException io -> message(io);
            case ParameterException wrong -> message(wrong).replaceFirst("^Error: ", "");
            case IllegalArgumentException wrong -> message(wrong);
            case IllegalStateException absent -> message(absent);
            case KernelException kernel -> message(kernel);
            default -> oneLine("this should not happen: %s (--verbose says where)".formatted(e));
        };
    }

    /** These classes give no reason, for their names say it. */
    static String problem(FileSystemException e) {
        return switch (e) {
            case NoSuchFileException missing -> "no such file or folder";
            case AccessDeniedException denied -> "permission denied";
            case NotDirectoryException other -> "not a folder";
            case FileAlreadyExistsException there -> "is there already";
            case DirectoryNotEmptyException full -> "the folder is not empty";
            default -> String.valueOf(e.getReason());
        };
    }

    private static String message(Throwable e) {
        return e.getMessage() == null ? e.getClass().getSimpleName() : oneLine(e.getMessage());
    }

    private static String oneLine(String text) {
        return text.strip().replaceAll("\\s*\\R\\s*", "; ");
    }
}
