package org.panamoe.model;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.io.IOException;
import java.lang.foreign.Arena;
import java.lang.reflect.InvocationTargetException;
import java.lang.reflect.Proxy;
import java.nio.file.Path;
import java.util.concurrent.atomic.AtomicInteger;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.panamoe.backend.Kernels;
import org.panamoe.backend.Variant;
import org.panamoe.checkpoint.Checkpoint;
import org.panamoe.checkpoint.Micro;
import org.panamoe.tensor.Tensor;

/** A device may fail while its memory is given back; then closing goes on where it failed. */
final class ClosingTest {
    @TempDir
    Path folder;

    @Test
    void aModelThatCouldNotBeClosedIsClosedAtLast() throws IOException {
        Micro.write(folder);
        var failures = new AtomicInteger();
        try (var kernels = new Variant("cpu", "threads=1").open()) {
            var checkpoint = Checkpoint.open(folder);
            var model = Model.load(checkpoint, failing(kernels, failures));
            try (var cache = new LatentCache(model, 64)) {
                var slot = cache.open();
                cache.reserve(slot, 2);
                model.forward(Batch.of(slot, new int[] {0, 3}, 1), cache);
            }
            failures.set(3);
            for (int i = 0; i < 3; i++) {
                assertThatThrownBy(model::close).hasMessage("the device is lost");
                assertThatThrownBy(checkpoint::close).hasMessage("close: a model still uses this checkpoint");
            }
            model.close();
            model.close();
            checkpoint.close();
            assertThat(kernels.allocated()).isZero();
        }
    }

    /** These kernels, but memory that is given back says {@code failures} times that it could not be. */
    private static Kernels failing(Kernels kernels, AtomicInteger failures) {
        return (Kernels) Proxy.newProxyInstance(
                Kernels.class.getClassLoader(), new Class<?>[] {Kernels.class}, (proxy, method, arguments) -> {
                    try {
                        var result = method.invoke(kernels, arguments);
                        if (result instanceof Tensor tensor && arguments[0] instanceof Arena arena)
                            tensor.data.reinterpret(0, arena, data -> {
                                if (failures.getAndUpdate(n -> Math.max(n - 1, 0)) > 0)
                                    throw new IllegalStateException("the device is lost");
                            });
                        return result;
                    } catch (InvocationTargetException e) {
                        throw e.getCause();
                    }
                });
    }
}
