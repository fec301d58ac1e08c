package org.panamoe.jcuda;

import static org.junit.jupiter.api.Assumptions.abort;

import java.io.IOException;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;

/** Where there is no driver: one of a few functions, see driver.c. Behind it JCuda is the real one. */
final class FakeDriver {
    private static final Path ROOT = Path.of(System.getProperty("panamoe.root"));

    private FakeDriver() {}

    /** Compiles it, or skips the test where there is no C compiler. */
    static void compile(Path folder, String... options) throws IOException, InterruptedException {
        var all = new ArrayList<>(List.of("-Wl,-soname,libcuda.so.1"));
        all.addAll(List.of(options));
        compile("driver.c", folder.resolve("libcuda.so.1"), all);
    }

    /** The back end that says how it was opened, see backend.c. */
    static void compileBackend(Path folder) throws IOException, InterruptedException {
        compile(
                "backend.c",
                folder.resolve("libpanamoe_cuda.so"),
                List.of("-I" + ROOT.resolve("native/include"), "-L" + folder, "-l:libcuda.so.1"));
    }

    /** For a process that shall find the driver in {@code folder}. */
    static Map<String, String> environment(Path folder, String mode) {
        return new HashMap<>(Map.of("LD_LIBRARY_PATH", folder.toString(), "FAKE_CUDA", mode));
    }

    /** With the driver in {@code folder}. */
    static Cuda.Found probe(Path folder, String mode) {
        var limit = Duration.ofSeconds(mode.equals("hang") ? 4 : 60);
        return new ProbeProcess(Jvm.CLASS_PATH, environment(folder, mode)).run(Probe.class.getName(), limit);
    }

    private static void compile(String source, Path library, List<String> options)
            throws IOException, InterruptedException {
        for (String compiler : List.of("cc", "gcc", "clang")) {
            var command = new ArrayList<>(List.of(compiler, "-shared", "-fPIC", "-o", library.toString()));
            command.add(ROOT.resolve("java/jcuda/src/test/resources")
                    .resolve(source)
                    .toString());
            command.addAll(options);
            try {
                if (new ProcessBuilder(command).inheritIO().start().waitFor() == 0) return;
            } catch (IOException e) {
                // not installed
            }
        }
        abort("there is no C compiler");
    }
}
