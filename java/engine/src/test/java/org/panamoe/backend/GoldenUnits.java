package org.panamoe.backend;

import static java.lang.foreign.ValueLayout.JAVA_BYTE;

import java.lang.foreign.Arena;
import org.panamoe.checkpoint.Golden;

/** Single operations as the reference implementations in Python compute them. */
final class GoldenUnits {
    private GoldenUnits() {}

    static float[] floats(String name) {
        try (var arena = Arena.ofConfined()) {
            return Golden.floats(Golden.tensors("units", arena).tensor(name));
        }
    }

    static byte[] codes(String name) {
        try (var arena = Arena.ofConfined()) {
            return Golden.tensors("units", arena).tensor(name).data.toArray(JAVA_BYTE);
        }
    }
}
