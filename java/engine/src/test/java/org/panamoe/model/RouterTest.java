package org.panamoe.model;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.within;

import java.lang.foreign.Arena;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Random;
import java.util.stream.IntStream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;
import org.junit.jupiter.params.provider.ValueSource;
import org.panamoe.checkpoint.Golden;
import org.panamoe.checkpoint.ModelConfig.TopkMethod;

final class RouterTest {
    private static final int E = 256, G = 8, KEPT = 4, K = 8;

    /** The gate is the identity there: hidden states are what the gate says. Case b has negative biased scores. */
    @ParameterizedTest
    @ValueSource(strings = {"a", "b"})
    void agreesWithTheGoldenAtRealSize(String name) {
        try (var arena = Arena.ofConfined()) {
            var units = Golden.tensors("units", arena);
            float[] logit_TE = Golden.floats(units.tensor("router." + name + ".logits"));
            int[] idx_TK = Golden.ints(units.tensor("router." + name + ".idx"));
            float[] weight_TK = Golden.floats(units.tensor("router." + name + ".weight"));
            var router = new Router(
                    Configs.router(TopkMethod.NOAUX_TC, E, K, G, KEPT, true, 2.5f),
                    Golden.floats(units.tensor("router." + name + ".bias")));
            for (int t = 0; t < 64; t++) {
                float[] score_E = Arrays.copyOfRange(logit_TE, t * E, (t + 1) * E);
                router.score(score_E);
                int[] expert_K = new int[K];
                float[] share_K = new float[K];
                router.route(score_E, expert_K, share_K);
                int[] order = byId(expert_K);
                for (int k = 0; k < K; k++) {
                    assertThat(expert_K[order[k]]).as("token %d", t).isEqualTo(idx_TK[t * K + k]);
                    // One division and one product in fp32, of shares up to 2.5.
                    assertThat(share_K[order[k]]).isCloseTo(weight_TK[t * K + k], within(1e-6f));
                }
            }
        }
    }

    /** Scores from a coarse grid, so that there are ties everywhere: the lower index wins, for groups and experts. */
    @ParameterizedTest
    @EnumSource
    void agreesWithSortingOnTies(TopkMethod method) {
        var random = new Random(1);
        for (int draw = 0; draw < 2000; draw++) {
            boolean coarse = draw % 2 == 0;
            float[] score_E = new float[E], bias_E = new float[E];
            for (int e = 0; e < E; e++) {
                score_E[e] = coarse ? random.nextInt(1, 9) / 8f : random.nextFloat();
                if (method == TopkMethod.NOAUX_TC)
                    bias_E[e] = coarse ? random.nextInt(-8, 9) / 8f : random.nextFloat() * 0.2f - 0.1f;
            }
            boolean grouped = method != TopkMethod.GREEDY;
            boolean norm = method == TopkMethod.NOAUX_TC;
            var config = Configs.router(method, E, K, grouped ? G : 1, grouped ? KEPT : 1, norm, 2.5f);
            int[] expert_K = new int[K];
            float[] share_K = new float[K];
            new Router(config, bias_E).route(score_E, expert_K, share_K);

            assertThat(expert_K).as("draw %d", draw).isEqualTo(sorted(method, score_E, bias_E, grouped));
            double sum = 0;
            for (int e : expert_K) sum += score_E[e];
            for (int k = 0; k < K; k++)
                assertThat(share_K[k])
                        .isCloseTo((float) (score_E[expert_K[k]] / (norm ? sum : 1) * 2.5), within(1e-6f));
        }
    }

    @Test
    void softmaxScoresAddUpToOne() {
        float[] score_E = new float[12];
        for (int e = 0; e < 12; e++) score_E[e] = e * 10 - 60;
        new Router(Configs.router(TopkMethod.GREEDY, 12, 3, 1, 1, false, 1), new float[12]).score(score_E);
        double sum = 0;
        for (float s : score_E) sum += s;
        assertThat(sum).isCloseTo(1, within(1e-6));
        assertThat(score_E[11] / score_E[10]).isCloseTo((float) Math.exp(10), within(0.1f));
    }

    /** The report's words, by sorting. */
    private static int[] sorted(TopkMethod method, float[] score_E, float[] bias_E, boolean grouped) {
        float[] biased_E = new float[E];
        for (int e = 0; e < E; e++) biased_E[e] = score_E[e] + bias_E[e];
        List<Integer> open = new ArrayList<>(IntStream.range(0, E).boxed().toList());
        if (grouped) {
            int size = E / G;
            float[] worth_G = new float[G];
            for (int g = 0; g < G; g++) {
                float[] group = Arrays.copyOfRange(biased_E, g * size, (g + 1) * size);
                Arrays.sort(group);
                worth_G[g] = method == TopkMethod.NOAUX_TC ? group[size - 1] + group[size - 2] : group[size - 1];
            }
            var best = new ArrayList<>(IntStream.range(0, G).boxed().toList());
            best.sort((a, b) -> Float.compare(worth_G[b], worth_G[a])); // stable: lower index first
            open.removeIf(e -> !best.subList(0, KEPT).contains(e / size));
        }
        open.sort((a, b) -> Float.compare(biased_E[b], biased_E[a]));
        return open.subList(0, K).stream().mapToInt(Integer::intValue).toArray();
    }

    private static int[] byId(int[] expert_K) {
        return IntStream.range(0, expert_K.length)
                .boxed()
                .sorted((a, b) -> Integer.compare(expert_K[a], expert_K[b]))
                .mapToInt(Integer::intValue)
                .toArray();
    }
}
