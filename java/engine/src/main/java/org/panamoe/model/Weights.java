package org.panamoe.model;

import java.lang.foreign.Arena;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import org.jspecify.annotations.Nullable;
import org.panamoe.backend.ExpertTable;
import org.panamoe.backend.Kernels;
import org.panamoe.checkpoint.Checkpoint;
import org.panamoe.checkpoint.ModelConfig;
import org.panamoe.checkpoint.TensorSpec;
import org.panamoe.tensor.DType;
import org.panamoe.tensor.Tensor;
import org.panamoe.tensor.Weight;

/**
 * A checkpoint's weights where the back end can read them: in place on the host; copied once, as they are stored, to a
 * device. All of the device's memory is taken first and at once, so that a model that does not fit is refused before
 * anything is copied.
 */
final class Weights {
    private static final int ALIGNMENT = 256; // what a device's wide loads and copies ask for

    private final Checkpoint checkpoint;
    private final Kernels kernels;
    private final Arena arena;
    private final Map<String, Weight> copied = new HashMap<>();
    private final @Nullable Tensor room;
    private long used;

    Weights(Checkpoint checkpoint, Kernels kernels, Arena arena) {
        this.checkpoint = checkpoint;
        this.kernels = kernels;
        this.arena = arena;
        var quantization = checkpoint.config().quantizationConfig();
        if (kernels.onDevice() && quantization != null && quantization.format().integer())
            throw new IllegalArgumentException("weights in %s: a device's back end has F32, BF16 and F8_E4M3_B128"
                    .formatted(quantization.format()));
        room = kernels.onDevice() ? kernels.allocate(arena, DType.U8, bytes(checkpoint)) : null;
    }

    ModelConfig config() {
        return checkpoint.config();
    }

    /** See {@link Checkpoint#weight}. */
    Weight weight(String name, long... shape) {
        var stored = checkpoint.weight(name, shape);
        if (room == null) return stored;
        return copied.computeIfAbsent(name, n -> stored.copied(tensor -> copy(room, tensor)));
    }

    /** A weight as the one expert of a table. */
    ExpertTable expert(String name, long... shape) {
        return new ExpertTable(kernels, arena, List.of(weight(name, shape)));
    }

    /** A tensor on the host. */
    Tensor tensor(String name, long... shape) {
        return checkpoint.tensor(name, shape);
    }

    /** These values in the memory of the back end. */
    Tensor values(float[] values) {
        try (var local = Arena.ofConfined()) {
            var there = kernels.allocate(arena, DType.F32, values.length);
            kernels.copy(there, Tensor.of(local, values));
            return there;
        }
    }

    private Tensor copy(Tensor room, Tensor host) {
        long[] shape = new long[host.rank()];
        for (int i = 0; i < shape.length; i++) shape[i] = host.dim(i);
        var there = new Tensor(room.rows(used, used + host.bytes()).data, host.dtype, shape);
        kernels.copy(there, host);
        used += padded(host.bytes());
        return there;
    }

    /** Room for all that a model asks for: not for the MTP module's own copies of embedding and head. */
    private static long bytes(Checkpoint checkpoint) {
        long bytes = 0;
        for (var spec : TensorSpec.of(checkpoint.config()))
            // Data and scales are padded apart.
            if (!spec.optional()) bytes += padded(checkpoint.bytes(spec.name())) + ALIGNMENT;
        return bytes;
    }

    private static long padded(long bytes) {
        return Math.ceilDiv(bytes, ALIGNMENT) * ALIGNMENT;
    }
}
