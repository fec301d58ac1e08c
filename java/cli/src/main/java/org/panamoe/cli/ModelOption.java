package org.panamoe.cli;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import org.jspecify.annotations.Nullable;
import org.panamoe.backend.ResourceCache;
import picocli.CommandLine.Option;

/** Which model: a folder as Hugging Face has it, or the one that travels with the program. */
final class ModelOption {
    static final String EMBEDDED = "tiny-v3";

    @Option(
            names = "--model",
            paramLabel = "DIR",
            description = "Folder of a DeepSeek V2 or V3 checkpoint (config.json, safetensors, tokenizer.json);"
                    + " without it the embedded " + EMBEDDED + ".")
    private @Nullable Path folder;

    /** The folder, extracted from the program's jar if need be. */
    Path folder() throws IOException {
        if (folder == null) return embedded();
        if (folder.toString().isEmpty()) throw new IllegalArgumentException("--model names no folder");
        if (!Files.isDirectory(folder))
            throw new IllegalArgumentException(
                    "--model %s: %s".formatted(folder, Files.exists(folder) ? "not a folder" : "no such folder"));
        return folder;
    }

    /** The embedded model's folder; it lies in the cache that extracted libraries share. */
    static Path embedded() throws IOException {
        return ResourceCache.folder(ModelOption.class.getClassLoader(), "META-INF/panamoe/models/" + EMBEDDED);
    }

    /** What to call the model. */
    String name() {
        return folder == null
                ? EMBEDDED
                : String.valueOf(folder.toAbsolutePath().normalize().getFileName());
    }
}
