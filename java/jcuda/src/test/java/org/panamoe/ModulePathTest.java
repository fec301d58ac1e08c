package org.panamoe;

import static org.assertj.core.api.Assertions.assertThat;

import java.io.File;
import java.io.IOException;
import java.lang.foreign.Arena;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.stream.Collectors;
import jcuda.driver.CUdeviceptr;
import org.junit.jupiter.api.Test;
import org.panamoe.jcuda.Cuda;
import org.panamoe.jcuda.JCudaTensor;
import org.panamoe.jcuda.Jvm;
import org.panamoe.tensor.DType;

/** As a module of somebody else's program. */
final class ModulePathTest {
    /** It sees the exported package only. */
    public static final class Program {
        public static void main(String[] args) {
            if (!Cuda.class.getModule().isNamed()) throw new AssertionError("not on the module path");
            if (Cuda.probe() instanceof Cuda.Absent(var reason) && reason.contains("process"))
                throw new AssertionError(reason);
            try (var arena = Arena.ofConfined()) {
                var x = JCudaTensor.wrap(arena, new CUdeviceptr().withByteOffset(4096), DType.F32, 2);
                System.out.println(x + " " + x.onDevice());
            }
        }
    }

    @Test
    void nativeAccessForTheModuleAlone() throws IOException, InterruptedException {
        var classPath = Arrays.asList(Jvm.CLASS_PATH.split(File.pathSeparator, -1));
        var modules = classPath.stream()
                .filter(entry -> entry.contains("engine/target/")
                        || entry.endsWith("java/jcuda/target/classes")
                        || entry.contains("jackson")
                        || entry.contains("jcuda-12"))
                .collect(Collectors.joining(File.pathSeparator));
        var others = classPath.stream()
                .filter(entry -> entry.endsWith("test-classes"))
                .collect(Collectors.joining(File.pathSeparator));
        var options = List.of(
                "--enable-native-access=org.panamoe.jcuda",
                "--illegal-native-access=deny",
                "--module-path=" + modules,
                "--add-modules=org.panamoe.jcuda",
                "--class-path=" + others);
        assertThat(Jvm.run(Map.of(), options, Program.class)).isEqualTo("F32[2] true\n");
    }
}
