package org.panamoe.checkpoint;

import java.lang.foreign.Arena;
import java.nio.file.Files;
import java.nio.file.Path;
import org.junit.jupiter.api.Assumptions;
import org.panamoe.tensor.Tensor;

/**
 * Where golden checkpoints and public data lie. What the repository holds must be there; what lies beside it, in
 * {@code ../shared}, is a reason to skip where it is absent.
 */
public final class Golden {
    private Golden() {}

    /** A folder of this repository's goldens: "v3-tiny-fp32" has config.json, model and golden.safetensors. */
    public static Path folder(String variant) {
        // The weights of v3-tiny-fp32 once more, rounded: 7 MB that the repository does without.
        if (variant.equals("v3-tiny-bf16")) return shared("golden/v3-tiny-bf16");
        Path folder = root().resolve("java/engine/src/test/golden").resolve(variant);
        if (!Files.isDirectory(folder)) throw new IllegalStateException(folder + " is missing");
        return folder;
    }

    /** The trained model that travels with the command line. */
    public static Path trained() {
        return root().resolve("java/cli/src/main/resources/META-INF/panamoe/models/tiny-v3");
    }

    /** golden.safetensors of a variant. */
    public static Safetensors tensors(String variant, Arena arena) {
        return Safetensors.map(folder(variant).resolve("golden.safetensors"), arena);
    }

    public static float[] floats(Tensor tensor) {
        float[] values = new float[Math.toIntExact(tensor.size())];
        tensor.getFloats(0, values);
        return values;
    }

    public static int[] ints(Tensor tensor) {
        int[] values = new int[Math.toIntExact(tensor.size())];
        for (int i = 0; i < values.length; i++) values[i] = tensor.getInt(i);
        return values;
    }

    /** A file or folder of {@code shared} beside the repository; the test is skipped where it is absent. */
    public static Path shared(String path) {
        Path found = root().resolveSibling("shared").resolve(path);
        Assumptions.assumeTrue(Files.exists(found), () -> found + " is absent");
        return found;
    }

    /** The repository's root: said by the build, else the first folder upwards that holds the header. */
    public static Path root() {
        String said = System.getProperty("panamoe.root");
        if (said != null) return Path.of(said).toAbsolutePath().normalize();
        Path here = Path.of(System.getProperty("user.dir")).toAbsolutePath();
        for (Path up = here; up != null; up = up.getParent())
            if (Files.exists(up.resolve("native/include/panamoe.h"))) return up;
        throw new IllegalStateException("no repository above " + here);
    }
}
