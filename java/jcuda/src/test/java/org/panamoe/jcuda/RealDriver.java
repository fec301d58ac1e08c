package org.panamoe.jcuda;

import static org.assertj.core.api.Assertions.fail;
import static org.junit.jupiter.api.Assumptions.abort;

import java.util.List;

/** The machine's own. */
final class RealDriver {
    private RealDriver() {}

    /** Skips the test where there is none, with the reason, unless the environment's PANAMOE_REQUIRE asks for cuda. */
    static List<Device> devices() {
        return switch (Cuda.probe()) {
            case Cuda.Present(var devices) -> devices;
            case Cuda.Absent(var reason) -> {
                if (List.of(System.getenv().getOrDefault("PANAMOE_REQUIRE", "").split("[ ,]+", -1))
                        .contains("cuda")) fail("cuda is required, but " + reason);
                yield abort("CUDA: " + reason);
            }
        };
    }
}
