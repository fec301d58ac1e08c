package org.panamoe.lab.routing;

import com.google.common.base.Splitter;
import com.google.common.hash.Hashing;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import org.jspecify.annotations.Nullable;

/**
 * Where tokens come from, as it is written: {@code synthetic:experts=64,...}, or the name of a file.
 *
 * @param fingerprint a hash of the file; empty for what is made up
 */
public record Input(String text, String fingerprint) {
    /** What the sizes of a returned-experts file are, which it does not say; 0 where nothing was said. */
    public record Sizes(int experts, int layers, int chosen) {
        public static final Sizes UNKNOWN = new Sizes(0, 0, 0);
    }

    /** @throws IllegalArgumentException if the file cannot be read */
    public static Input of(String text) {
        if (isSynthetic(text)) return new Input(text, "");
        var file = Path.of(text);
        if (!Files.isRegularFile(file))
            throw new IllegalArgumentException(
                    "%s: %s".formatted(text, Files.exists(file) ? "not a file" : "no such file"));
        try {
            var hash = com.google.common.io.Files.asByteSource(file.toFile()).hash(Hashing.murmur3_128());
            return new Input(text, hash.toString());
        } catch (IOException e) {
            throw new IllegalArgumentException(text + ": cannot be read: " + e.getMessage(), e);
        }
    }

    public static boolean isSynthetic(String text) {
        return text.equals("synthetic") || text.startsWith("synthetic:");
    }

    /** The drift of a stream that is made up; null for a file. */
    @Nullable
    Double drift() {
        return isSynthetic(text)
                ? Double.valueOf(MethodSpec.parse(text).parameters().getOrDefault("drift", "0"))
                : null;
    }

    /** Opens it; what kind of file it is its name says: .safetensors, .tar.gz, .json, .jsonl. */
    public Trace open(Sizes sizes) {
        if (isSynthetic(text)) return SyntheticTrace.parse(text);
        var file = Path.of(text);
        String name = String.valueOf(file.getFileName());
        if (name.endsWith(".safetensors")) return new SafetensorsTrace(file);
        if (name.endsWith(".tar.gz") || name.endsWith(".tgz")) return new EsftTrace(file);
        if (name.endsWith(".json") || name.endsWith(".jsonl")) return new ReturnedExperts(file, sizes);
        throw new IllegalArgumentException(
                text + ": not a trace: its name ends with none of .safetensors (panamoe trace),"
                        + " .tar.gz (ESFT), .json, .jsonl (experts that a server returned)");
    }

    /** @param groups how many a token may use, of how many: {@code 4/8}; empty: as the trace says */
    public static Trace regroup(Trace trace, String groups) {
        if (groups.isEmpty()) return trace;
        var parts = Splitter.on('/').splitToList(groups);
        if (parts.size() != 2 || !parts.stream().allMatch(part -> part.matches("[1-9][0-9]{0,5}")))
            throw new IllegalArgumentException(
                    "groups '%s' are not written KEPT/GROUPS, such as 4/8".formatted(groups));
        var rule = trace.rule();
        return new Regrouped(
                trace,
                Trace.rule(
                        rule.experts(), rule.chosen(), Integer.parseInt(parts.get(1)), Integer.parseInt(parts.get(0))));
    }
}
