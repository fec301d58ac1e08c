package org.panamoe.benchmarks;

import java.lang.foreign.Arena;
import java.util.stream.Stream;
import org.junit.jupiter.api.Assumptions;
import org.panamoe.backend.Backend;
import org.panamoe.backend.Kernels;
import org.panamoe.tensor.Tensor;
import org.panamoe.tensor.Weight;

/** What a benchmark made, wherever it lies, copied to the host. */
record Host(Kernels kernels, Arena arena) {
    /** One on the host, one on a device. */
    static Stream<String> backends() {
        return Stream.of("cpu", "cudaemu");
    }

    /** Skips the test where the back end is absent. */
    static String present(String backend) {
        switch (Backend.find(backend)) {
            case Backend.Ready(var kernels) -> kernels.close();
            case Backend.Absent(var reason) -> Assumptions.abort("back end " + backend + ": " + reason);
        }
        return backend;
    }

    Tensor tensor(Tensor there) {
        var shape = new long[there.rank()];
        for (int i = 0; i < shape.length; i++) shape[i] = there.dim(i);
        var here = Tensor.allocate(arena, there.dtype, shape);
        kernels.copy(here, there);
        return here;
    }

    Weight weight(Weight there) {
        return there.copied(this::tensor);
    }

    float[] floats(Tensor there) {
        var floats = new float[(int) there.size()];
        tensor(there).getFloats(0, floats);
        return floats;
    }

    int[] ints(Tensor there) {
        var here = tensor(there);
        var ints = new int[(int) there.size()];
        for (int i = 0; i < ints.length; i++) ints[i] = here.getInt(i);
        return ints;
    }
}
