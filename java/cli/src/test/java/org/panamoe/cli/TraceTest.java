package org.panamoe.cli;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.within;

import java.io.IOException;
import java.lang.foreign.Arena;
import java.lang.foreign.ValueLayout;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;
import org.panamoe.checkpoint.Safetensors;
import org.panamoe.tensor.DType;
import org.panamoe.tensor.Tensor;

class TraceTest {
    private static final int LAYERS = 4, K = 4, E = 16;

    @TempDir
    private Path folder;

    static Stream<Golden> golden() {
        return Golden.all();
    }

    @ParameterizedTest
    @MethodSource("golden")
    void routingIsGolden(Golden golden) {
        try (var arena = Arena.ofConfined()) {
            var trace = trace(arena, "--tokens", golden.ids(), "--scores");
            int T = golden.promptTokens().length;
            assertThat(ints(trace.tensor("token_ids"))).isEqualTo(golden.promptTokens());
            for (int layer = 1; layer <= LAYERS; layer++) {
                // Golden's moe0 is layer 1; the MTP module sees a token and the next one.
                String moe = "moe" + (layer - 1) + ".";
                int rows = layer == LAYERS ? T - 1 : T;
                var index_TK = trace.tensor("topk_idx." + layer);
                var weight_TK = trace.tensor("topk_weight." + layer);
                var score_TE = trace.tensor("score." + layer);
                assertThat(index_TK.toString()).isEqualTo("I32[%d, %d]", rows, K);
                assertThat(weight_TK.toString()).isEqualTo("F32[%d, %d]", rows, K);
                assertThat(score_TE.toString()).isEqualTo("F16[%d, %d]", rows, E);
                assertThat(trace.tensor("bias." + layer).toString()).isEqualTo("F32[%d]", E);
                for (int t = 0; t < rows; t++)
                    assertThat(choices(index_TK, weight_TK, t))
                            .as("layer %d, row %d", layer, t)
                            .usingRecursiveFieldByFieldElementComparator()
                            .zipSatisfy(
                                    choices(golden.tensor(moe + "topk_idx"), golden.tensor(moe + "topk_weight"), t),
                                    (actual, expected) -> {
                                        assertThat(actual.expert).isEqualTo(expected.expert);
                                        // fp32 sums in another order
                                        assertThat(actual.weight).isCloseTo(expected.weight, within(1e-5f));
                                    });
                for (int i = 0; i < rows * E; i++)
                    assertThat(Float.float16ToFloat(score_TE.data.getAtIndex(ValueLayout.JAVA_SHORT_UNALIGNED, i)))
                            .isCloseTo(
                                    golden.tensor(moe + "scores").getFloat(i),
                                    within(1e-3f)); // half an ulp of F16 below 1: 2.5e-4
            }
        }
    }

    /** Best first is our order; the golden file's is another, so both are put in the order of experts. */
    private static List<Choice> choices(Tensor index_TK, Tensor weight_TK, int t) {
        var choices = new ArrayList<Choice>();
        for (int k = 0; k < K; k++)
            choices.add(new Choice(index_TK.getInt((long) t * K + k), weight_TK.getFloat((long) t * K + k)));
        choices.sort(java.util.Comparator.comparingInt(Choice::expert));
        return choices;
    }

    private record Choice(int expert, float weight) {}

    /** A text is the same as its tokens, window by window: each window is traced as if it were alone. */
    @Test
    void aTextIsCutIntoWindows() throws IOException {
        var tale = Path.of(System.getProperty("panamoe.root"), "java", "cli", "src", "test", "resources", "tale.txt");
        try (var arena = Arena.ofConfined()) {
            var whole = trace(arena, "--file", tale.toString());
            int[] tokens = ints(whole.tensor("token_ids"));
            assertThat(whole.metadata())
                    .containsEntry("model", "tiny-v3")
                    .containsEntry("K", "4")
                    .containsEntry("n_group", "4")
                    .containsEntry("topk_group", "2")
                    .containsEntry("window", "512");
            assertThat(whole.names()).doesNotContain("score.1");
            assertThat(tokens.length).isBetween(513, 1023); // two windows
            assertThat(tokens[0]).isZero();
            assertThat(tokens[512]).isZero();
            assertThat(Arrays.stream(tokens).filter(token -> token == 0)).hasSize(2);
            int[] last = Arrays.copyOfRange(tokens, 512, tokens.length);
            var alone = trace(arena, "--tokens", Golden.ids(last));
            for (int layer = 1; layer <= LAYERS; layer++) {
                int[] expected = ints(alone.tensor("topk_idx." + layer));
                int[] all = ints(whole.tensor("topk_idx." + layer));
                assertThat(all).hasSize((layer == LAYERS ? tokens.length - 2 : tokens.length) * K);
                assertThat(Arrays.copyOfRange(all, all.length - expected.length, all.length))
                        .isEqualTo(expected);
            }
        }
    }

    private Safetensors trace(Arena arena, String... args) {
        var file = folder.resolve("trace.safetensors");
        var all = new ArrayList<>(List.of("trace", "--output", file.toString()));
        all.addAll(List.of(args));
        assertThat(Run.good(all.toArray(String[]::new))).isEqualTo(new Run(0, "", ""));
        assertThat(Files.isRegularFile(file)).isTrue();
        return Safetensors.map(file, arena);
    }

    private static int[] ints(Tensor tensor) {
        assertThat(tensor.dtype).isEqualTo(DType.I32);
        int[] values = new int[Math.toIntExact(tensor.size())];
        for (int i = 0; i < values.length; i++) values[i] = tensor.getInt(i);
        return values;
    }
}
