package org.panamoe.model;

import static org.assertj.core.api.Assertions.assertThat;

import java.lang.foreign.Arena;
import java.util.Arrays;
import java.util.HashSet;
import java.util.List;
import java.util.Set;
import java.util.stream.Stream;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.Arguments;
import org.junit.jupiter.params.provider.MethodSource;
import org.panamoe.backend.Kernels;
import org.panamoe.backend.Variant;
import org.panamoe.checkpoint.Checkpoint;
import org.panamoe.checkpoint.Golden;
import org.panamoe.checkpoint.Safetensors;
import org.panamoe.tensor.Tensor;

/** Every intermediate value of a prompt, against values on which two independent implementations agree. */
final class GoldenModelTest {
    /**
     * fp32 arithmetic on the stored weights, values up to 24: the two implementations behind the goldens differ by up to
     * 5e-5 between fp32 and fp64. Anything wrong in the mathematics shows at 1e-1 and above.
     */
    private static final float TOLERANCE = 2e-4f;

    static Stream<Arguments> foldersAndBackends() {
        return Stream.of(
                        "v3-tiny-fp32",
                        "v3-tiny-bf16",
                        "v3-tiny-fp8",
                        "v3-tiny-mtp",
                        "v3-tiny-yarn",
                        "v2-lite-tiny",
                        "v2-group-tiny")
                .flatMap(folder -> Variant.all().stream().map(backend -> Arguments.of(folder, backend)));
    }

    @ParameterizedTest
    @MethodSource("foldersAndBackends")
    void prompt(String folder, Variant backend) {
        try (var arena = Arena.ofShared();
                var checkpoint = Checkpoint.open(Golden.folder(folder));
                var kernels = backend.open();
                var model = Model.load(checkpoint, kernels)) {
            var golden = Golden.tensors(folder, arena);
            int[] tokens = Golden.ints(golden.tensor("input_ids"));
            int L = model.config().numHiddenLayers();
            try (var cache = new LatentCache(model, tokens.length)) {
                var slot = cache.open();
                cache.reserve(slot, tokens.length);
                var comparison = new Comparison(golden, "", model);
                model.observe(comparison);
                var output = model.forward(Batch.of(slot, tokens, tokens.length), cache);
                assertThat(comparison.seen).contains("hidden.0", "hidden." + L, "topk_idx." + (L - 1));
                if (!folder.equals("v3-tiny-yarn")) assertThat(comparison.seen).contains("attn.0", "mlp." + (L - 1));
                assertClose(golden, "hidden_norm", kernels, output.hidden_TD());
                assertLogits(golden, "logits", output.logits());
                for (int layer = 0; layer < L; layer++) assertLatents(golden, layer, cache, slot, tokens.length, model);
                if (golden.names().contains("mtp.logits"))
                    assertMtp(golden, model, output.hidden_TD(), slot, tokens.length, cache);
            }
        }
    }

    private static void assertMtp(
            Safetensors golden, Model model, Tensor hidden_TD, LatentCache.Slot slot, int T, LatentCache cache) {
        int[] next = Golden.ints(golden.tensor("mtp.next_ids"));
        int[] each = new int[T];
        Arrays.setAll(each, t -> t);
        var batch = new Batch(next, each, List.of(new Batch.Span(slot, 0, T, T)));
        var comparison = new Comparison(golden, "mtp.", model);
        model.observe(comparison);
        var output = model.mtp().orElseThrow().forward(batch, hidden_TD, each, cache);
        assertThat(comparison.seen).contains("mtp.attn", "mtp.mlp", "mtp.topk_idx");
        assertClose(golden, "mtp.hidden", model.kernels, output.hidden_TD());
        assertLogits(golden, "mtp.logits", output.logits());
        assertChain(golden, model, output, slot, T, cache);
    }

    /** Drafts after the first come from the module's own normed states. */
    private static void assertChain(
            Safetensors golden, Model model, Model.Output output, LatentCache.Slot slot, int T, LatentCache cache) {
        int[] chain = Golden.ints(golden.tensor("mtp.chain_tokens"));
        float[] expected = Golden.floats(golden.tensor("mtp.chain_logits"));
        model.observe(Observer.NOBODY);
        float[] row_V = new float[expected.length / chain.length];
        for (int j = 0, last = T - 1; j < chain.length; j++, last = 0) {
            output.logits().row(last, row_V);
            for (int v = 0; v < row_V.length; v++) assertNear("chain", row_V[v], expected[j * row_V.length + v]);
            assertThat(output.logits().argmax(last)).isEqualTo(chain[j]);
            var next = new Batch(new int[] {chain[j]}, new int[] {T + j}, List.of(new Batch.Span(slot, 0, 1, 1)));
            output = model.mtp().orElseThrow().forward(next, output.hidden_TD(), new int[] {last}, cache);
        }
    }

    private static void assertLatents(
            Safetensors golden, int layer, LatentCache cache, LatentCache.Slot slot, int T, Model model) {
        int C = model.config().kvLoraRank(), R = model.config().qkRopeHeadDim();
        float[] rows = floats(model.kernels, cache.pages(layer).pages_SBX());
        float[] latent_TC = Golden.floats(golden.tensor("c_kv." + layer));
        float[] key_TR = Golden.floats(golden.tensor("k_pe." + layer));
        var table = cache.table(Batch.of(slot, new int[] {0}, 1), new int[0]);
        for (int t = 0; t < T; t++) {
            int at = (table[t / LatentCache.B] * LatentCache.B + t % LatentCache.B) * (C + R);
            for (int c = 0; c < C; c++) assertNear("c_kv", rows[at + c], latent_TC[t * C + c]);
            for (int r = 0; r < R; r++) assertNear("k_pe", rows[at + C + r], key_TR[t * R + r]);
        }
    }

    /** Compares what passes by with the golden tensors, where those are stored. */
    private static final class Comparison implements Observer {
        final Set<String> seen = new HashSet<>();
        private final Safetensors golden;
        private final String prefix;
        private final int K;
        private final Kernels kernels;
        private float[] before = {};

        Comparison(Safetensors golden, String prefix, Model model) {
            this.golden = golden;
            this.prefix = prefix;
            K = model.config().numExpertsPerTok();
            kernels = model.kernels;
        }

        @Override
        public void residual(int layer, Tensor x_TD) {
            before = floats(kernels, x_TD);
            if (prefix.isEmpty()) compare("hidden." + layer, before);
        }

        @Override
        public void afterAttention(int layer, Tensor x_TD) {
            compare(name("attn", layer), added(x_TD));
        }

        @Override
        public void afterFeedForward(int layer, Tensor x_TD) {
            compare(name("mlp", layer), added(x_TD));
        }

        /** What became of the residual stream since it was last looked at: golden files have what is added to it. */
        private float[] added(Tensor x_TD) {
            float[] after = floats(kernels, x_TD), added = after.clone();
            for (int i = 0; i < added.length; i++) added[i] -= before[i];
            before = after;
            return added;
        }

        @Override
        public void routed(int layer, int T, float[] score_TE, int[] expert_TK, float[] share_TK) {
            seen.add(name("topk_idx", layer));
            int[] idx_TK = Golden.ints(golden.tensor(name("topk_idx", layer)));
            float[] weight_TK = Golden.floats(golden.tensor(name("topk_weight", layer)));
            for (int t = 0; t < T; t++) {
                Integer[] order = new Integer[K];
                Arrays.setAll(order, k -> k);
                int first = t * K;
                Arrays.sort(order, (a, b) -> Integer.compare(expert_TK[first + a], expert_TK[first + b]));
                for (int k = 0; k < K; k++) {
                    assertThat(expert_TK[first + order[k]])
                            .as("layer %d, token %d", layer, t)
                            .isEqualTo(idx_TK[first + k]);
                    assertNear("topk_weight", share_TK[first + order[k]], weight_TK[first + k]);
                }
            }
        }

        private void compare(String name, float[] actual) {
            if (!golden.names().contains(name)) return;
            assertClose(golden, name, actual);
            seen.add(name);
        }

        private String name(String what, int layer) {
            return prefix.isEmpty() ? what + "." + layer : prefix + what;
        }
    }

    private static void assertLogits(Safetensors golden, String name, Logits logits) {
        float[] expected = Golden.floats(golden.tensor(name));
        int V = expected.length / logits.rows();
        float[] row_V = new float[V];
        for (int t = 0; t < logits.rows(); t++) {
            logits.row(t, row_V);
            for (int v = 0; v < V; v++) assertNear(name, row_V[v], expected[t * V + v]);
        }
    }

    private static void assertClose(Safetensors golden, String name, Kernels kernels, Tensor there) {
        assertClose(golden, name, floats(kernels, there));
    }

    private static void assertClose(Safetensors golden, String name, float[] actual) {
        float[] expected = Golden.floats(golden.tensor(name));
        assertThat(actual).as(name).hasSize(expected.length);
        for (int i = 0; i < expected.length; i++) assertNear(name, actual[i], expected[i]);
    }

    /** From wherever the back end computes. */
    private static float[] floats(Kernels kernels, Tensor there) {
        try (var local = Arena.ofConfined()) {
            var host = Tensor.allocate(local, there.dtype, there.size());
            kernels.copy(host, there);
            float[] values = new float[(int) host.size()];
            host.getFloats(0, values);
            return values;
        }
    }

    private static void assertNear(String name, float actual, float expected) {
        if (!(Math.abs(actual - expected) <= TOLERANCE))
            throw new AssertionError("%s: %s instead of %s".formatted(name, actual, expected));
    }
}
