package org.panamoe;

import static org.assertj.core.api.Assertions.assertThat;

import java.io.File;
import java.io.IOException;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.stream.Collectors;
import org.junit.jupiter.api.Test;
import org.panamoe.backend.Backend;

/** The engine as a module of somebody else's program: native access for it alone, and not a word on the console. */
final class ModulePathTest {
    /** What that program does; it sees the exported packages only. */
    public static final class Program {
        public static void main(String[] names) {
            if (!Backend.class.getModule().isNamed()) throw new AssertionError("not on the module path");
            for (var name : names)
                try (var kernels = Backend.require(name)) {
                    System.out.println(kernels.describe().split(" ", -1)[0]);
                }
        }
    }

    @Test
    void nativeAccessForTheModuleAlone() throws IOException, InterruptedException {
        var names = new ArrayList<>(List.of("reference"));
        switch (Backend.find("cpu")) {
            case Backend.Ready(var kernels) -> {
                kernels.close();
                names.add("cpu");
            }
            case Backend.Absent(var reason) ->
                assertThat(System.getenv("PANAMOE_REQUIRE")).as(reason).isNull(); // without it, half a test
        }
        var classPath = Arrays.asList(System.getProperty("java.class.path").split(File.pathSeparator, -1));
        var modules = classPath.stream()
                .filter(entry -> entry.endsWith("engine/target/classes") || entry.contains("jackson"))
                .collect(Collectors.joining(File.pathSeparator));
        var others = classPath.stream()
                .filter(entry -> entry.endsWith("test-classes") || entry.contains("native"))
                .collect(Collectors.joining(File.pathSeparator));
        var output = Jvm.run(
                List.of(
                        "--enable-native-access=org.panamoe.engine",
                        "--illegal-native-access=deny",
                        "--module-path=" + modules,
                        "--add-modules=org.panamoe.engine",
                        "--class-path=" + others),
                Program.class,
                names.toArray(String[]::new));
        assertThat(output)
                .isEqualTo(names.stream().map(name -> "backend=" + name + "\n").collect(Collectors.joining()));
    }
}
