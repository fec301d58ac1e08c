package org.panamoe.jcuda;

import java.io.File;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.net.URI;
import java.net.URL;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.Comparator;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.concurrent.TimeUnit;

/**
 * A JVM of its own that writes a {@link Report}.
 *
 * @param classPath of that JVM
 * @param environment added to that of this process
 */
record ProbeProcess(String classPath, Map<String, String> environment) {
    /** These would give it this program's agents and debugger, which open ports. */
    private static final List<String> NOT_INHERITED = List.of("JAVA_TOOL_OPTIONS", "JDK_JAVA_OPTIONS", "_JAVA_OPTIONS");

    /** Signals by which a process dies of itself. */
    private static final Map<Integer, String> SIGNALS =
            Map.of(4, "SIGILL", 6, "SIGABRT", 7, "SIGBUS", 8, "SIGFPE", 9, "SIGKILL", 11, "SIGSEGV", 15, "SIGTERM");

    /** It has what this program has: this module, JCuda, and JCuda's native library. */
    static ProbeProcess ofThisProgram() {
        var entries = new LinkedHashSet<String>();
        var loader = Cuda.class.getClassLoader();
        for (var resource : List.of(
                Cuda.class.getName().replace('.', '/') + ".class",
                "jcuda/driver/JCudaDriver.class", // found, not loaded
                "lib/libJCudaDriver-12.6.0-linux-x86_64.so")) {
            var url = loader.getResource(resource);
            if (url != null) holder(url, resource).ifPresent(entries::add);
        }
        // Where they do not lie in plain jars or folders, say within another jar, that jar may still know how to find
        // them.
        for (String entry : System.getProperty("java.class.path").split(File.pathSeparator, -1))
            if (!entry.isEmpty()) entries.add(Path.of(entry).toAbsolutePath().toString());
        return new ProbeProcess(String.join(File.pathSeparator, entries), Map.of());
    }

    /** The jar or folder in which a resource lies. */
    private static Optional<String> holder(URL url, String resource) {
        var text = url.toString();
        if (!text.endsWith(resource)) return Optional.empty();
        var holder = text.substring(0, text.length() - resource.length()).replaceFirst("^jar:(file:.*)!/$", "$1");
        return holder.startsWith("file:")
                ? Optional.of(Path.of(URI.create(holder)).toString())
                : Optional.empty();
    }

    /** @param main the class to run, by name, so that nothing of it is loaded here */
    Cuda.Found run(String main, Duration limit) {
        try {
            // JCuda leaves its library there, a crash its report.
            var folder = Files.createTempDirectory("panamoe-cuda");
            try {
                return run(main, limit, folder);
            } finally {
                delete(folder);
            }
        } catch (IOException e) {
            return new Cuda.Absent("no process could be started to look for devices: " + e);
        }
    }

    private Cuda.Found run(String main, Duration limit, Path folder) throws IOException {
        var builder = new ProcessBuilder(
                        Path.of(System.getProperty("java.home"), "bin", "java").toString(),
                        "-Xshare:auto",
                        "-XX:+UseSerialGC",
                        "-XX:TieredStopAtLevel=1",
                        "-XX:-UsePerfData",
                        "-XX:-CreateCoredumpOnCrash",
                        "-Xlog:disable",
                        "-Xmx64m",
                        "--enable-native-access=ALL-UNNAMED",
                        "-Djava.io.tmpdir=" + folder,
                        "-Djava.library.path=" + System.getProperty("java.library.path"),
                        "-cp",
                        classPath,
                        main)
                .directory(folder.toFile())
                .redirectErrorStream(true);
        NOT_INHERITED.forEach(builder.environment()::remove);
        builder.environment().putAll(environment);
        var output = folder.resolve("output").toFile(); // not a pipe: who is killed may leave one open
        var process = builder.redirectOutput(output).start();
        process.getOutputStream().close();
        boolean ended = false, interrupted = false;
        try {
            ended = process.waitFor(limit.toMillis(), TimeUnit.MILLISECONDS);
        } catch (InterruptedException e) {
            interrupted = true;
            Thread.currentThread().interrupt();
        } finally {
            if (!ended) process.destroyForcibly(); // in vain, where it waits within the kernel
        }
        var report = Report.read(new String(Files.readAllBytes(output.toPath()), StandardCharsets.UTF_8));
        if (interrupted) return new Cuda.Absent("interrupted while looking for devices" + report.where());
        if (!ended)
            return new Cuda.Absent("the driver did not answer within %s s%s%s"
                    .formatted(seconds(limit), report.where(), report.why()));
        int code = process.exitValue();
        var answer = report.answer();
        if (code == 0 && answer.isPresent()) return answer.get();
        return new Cuda.Absent("the process that looked for devices ended%s with %s%s"
                .formatted(report.where(), ending(code), report.why()));
    }

    private static String seconds(Duration limit) {
        return limit.toMillis() % 1000 == 0 ? "" + limit.toSeconds() : "" + limit.toMillis() / 1e3;
    }

    private static String ending(int code) {
        String signal = SIGNALS.get(code - 128);
        return signal == null ? "exit code " + code : "exit code %d (%s)".formatted(code, signal);
    }

    /** As far as it can be: a process that cannot be killed may still write. The answer counts more. */
    private static void delete(Path folder) {
        try (var all = Files.walk(folder)) {
            for (var file : all.sorted(Comparator.reverseOrder()).toList()) Files.deleteIfExists(file);
        } catch (IOException | UncheckedIOException e) {
            folder.toFile().deleteOnExit();
        }
    }
}
