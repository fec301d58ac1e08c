package org.panamoe.model;

import static org.assertj.core.api.Assertions.assertThat;

import java.lang.foreign.Arena;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;
import org.panamoe.backend.Variant;
import org.panamoe.checkpoint.Checkpoint;
import org.panamoe.checkpoint.Golden;

/** Whole models on tensor cores, in the emulator: activations and latents are rounded to bf16. */
final class TensorCoresTest {
    private static final Variant TENSOR = new Variant("cudaemu", "math=tensor");

    /**
     * Each activation is off by up to 2^-9; over the layers that grows, and where two experts are nearly equal another one
     * is chosen.
     */
    private static final double TOLERANCE = 0.06;

    @ParameterizedTest
    @ValueSource(strings = {"v3-tiny-bf16", "v3-tiny-mtp", "v3-tiny-yarn", "v2-lite-tiny", "v2-group-tiny"})
    void logits(String folder) {
        try (var arena = Arena.ofShared();
                var checkpoint = Checkpoint.open(Golden.folder(folder));
                var kernels = TENSOR.open();
                var model = Model.load(checkpoint, kernels)) {
            var golden = Golden.tensors(folder, arena);
            int[] tokens = Golden.ints(golden.tensor("input_ids"));
            float[] expected = Golden.floats(golden.tensor("logits"));
            float[] row_V = new float[expected.length / tokens.length];
            double error = 0, all = 0;
            try (var cache = new LatentCache(model, tokens.length)) {
                var slot = cache.open();
                cache.reserve(slot, tokens.length);
                var logits = model.forward(Batch.of(slot, tokens, tokens.length), cache)
                        .logits();
                for (int t = 0; t < tokens.length; t++) {
                    logits.row(t, row_V);
                    for (int v = 0; v < row_V.length; v++) {
                        double right = expected[t * row_V.length + v];
                        error += (row_V[v] - right) * (row_V[v] - right);
                        all += right * right;
                    }
                }
            }
            // Were it 0, the plain kernels would have run.
            assertThat(Math.sqrt(error / all)).as("relative rms").isBetween(1e-4, TOLERANCE);
        }
    }
}
