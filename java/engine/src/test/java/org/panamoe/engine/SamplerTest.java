package org.panamoe.engine;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.within;

import java.util.Arrays;
import java.util.Random;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

final class SamplerTest {
    private static final int V = 50;

    /** 49 degrees of freedom at most: a correct sampler exceeds 90 once in 4000 seeds, and these seeds are fixed. */
    private static final double CHI_SQUARE_LIMIT = 90;

    @ParameterizedTest
    @CsvSource({"1, 0, 1", "0.7, 0, 1", "1.5, 10, 1", "0.7, 0, 0.9", "1, 20, 0.8", "2, 1, 1"})
    void drawsFromTheSoftmax(float temperature, int topK, float topP) {
        int draws = 100_000;
        float[] logit_V = logits(3);
        var sampler = new Sampler(new Sampling(temperature, topK, topP, 7), V);
        int[] seen_V = new int[V];
        for (int position = 0; position < draws; position++) seen_V[sampler.choose(logit_V, position)]++;

        double[] p_V = distribution(logit_V, temperature, topK, topP);
        for (int v = 0; v < V; v++)
            if (p_V[v] == 0) assertThat(seen_V[v]).as("token %d is excluded", v).isZero();
        assertThat(chiSquare(seen_V, p_V, draws)).isLessThan(CHI_SQUARE_LIMIT);
    }

    /** Seeds are the other way to vary the noise; one position, many seeds. */
    @Test
    void seedsAreIndependentDraws() {
        int draws = 100_000;
        float[] logit_V = logits(4);
        int[] seen_V = new int[V];
        for (int seed = 0; seed < draws; seed++)
            seen_V[new Sampler(new Sampling(1, 0, 1, seed), V).choose(logit_V, 5)]++;
        assertThat(chiSquare(seen_V, distribution(logit_V, 1, 0, 1), draws)).isLessThan(CHI_SQUARE_LIMIT);
    }

    @Test
    void sameSeedSameChoice() {
        float[] logit_V = logits(5);
        var one = new Sampler(new Sampling(1, 0, 0.95f, 11), V);
        var other = new Sampler(new Sampling(1, 0, 0.95f, 11), V);
        for (int position = 1000; position >= 0; position--)
            assertThat(one.choose(logit_V, position)).isEqualTo(other.choose(logit_V, position));
    }

    @Test
    void neighboursInPositionAndTokenHaveUnrelatedNoise() {
        double sum = 0, square = 0, product = 0;
        int n = 200_000;
        for (int i = 0; i < n; i++) {
            double a = Sampler.noise(0, i, 17), b = Sampler.noise(0, i, 18), c = Sampler.noise(1, i, 17);
            sum += a;
            square += a * a;
            product += (a - 0.5772) * ((b - 0.5772) + (c - 0.5772) + (Sampler.noise(0, i + 1, 17) - 0.5772));
        }
        // Gumbel: mean 0.5772 (Euler), variance pi^2 / 6; standard errors at this n are 0.003, 0.01 and 0.006.
        assertThat(sum / n).isBetween(0.5772 - 0.015, 0.5772 + 0.015);
        assertThat(square / n - Math.pow(sum / n, 2)).isBetween(1.6449 - 0.05, 1.6449 + 0.05);
        assertThat(product / n).isBetween(-0.03, 0.03);
    }

    /** These arguments give the most that 52 bits and a half can hold: one bit more, and it would be rounded to 1. */
    @Test
    void noiseIsFinite() {
        assertThat(Sampler.noise(2060222413779614982L, 5, 3)).isEqualTo(36.7368, within(1e-3));
    }

    @Test
    void minusZeroIsZero() {
        float[] logit_V = {-1, -0f, 0f, -0f};
        assertThat(new Sampler(new Sampling(1, 1, 1, 0), 4).choose(logit_V, 0)).isEqualTo(1);
    }

    @Test
    void oneHugeLogitWins() {
        float[] logit_V = logits(6);
        logit_V[31] = 1000;
        for (int seed = 0; seed < 1000; seed++)
            assertThat(new Sampler(new Sampling(1, 0, 1, seed), V).choose(logit_V, seed))
                    .isEqualTo(31);
    }

    @Test
    void wrongSettingsSaySo() {
        assertThatThrownBy(() -> new Sampling(-1, 0, 1, 0)).hasMessage("temperature -1.0 is not in [0, infinity)");
        assertThatThrownBy(() -> new Sampling(Float.NaN, 0, 1, 0)).hasMessageContaining("temperature NaN");
        assertThatThrownBy(() -> new Sampling(1, -1, 1, 0)).hasMessage("top-k -1 is negative");
        assertThatThrownBy(() -> new Sampling(1, 0, 0, 0)).hasMessage("top-p 0.0 is not in (0, 1]");
    }

    /** Tokens expected less than five times count together: the statistic is not chi-square distributed for them. */
    private static double chiSquare(int[] seen_V, double[] p_V, int draws) {
        double sum = 0, restExpected = 0, restSeen = 0;
        for (int v = 0; v < V; v++) {
            double expected = draws * p_V[v];
            if (expected < 5) {
                restExpected += expected;
                restSeen += seen_V[v];
            } else sum += Math.pow(seen_V[v] - expected, 2) / expected;
        }
        return restExpected == 0 ? sum : sum + Math.pow(restSeen - restExpected, 2) / restExpected;
    }

    private static float[] logits(int seed) {
        var random = new Random(seed);
        float[] logit_V = new float[V];
        for (int v = 0; v < V; v++) logit_V[v] = (float) random.nextGaussian() * 2;
        return logit_V;
    }

    /** Straight from the definition: softmax, sort, cut, normalise. */
    private static double[] distribution(float[] logit_V, float temperature, int topK, float topP) {
        Integer[] order = new Integer[V];
        double[] p_V = new double[V];
        double sum = 0;
        for (int v = 0; v < V; v++) {
            order[v] = v;
            p_V[v] = Math.exp(logit_V[v] / temperature);
            sum += p_V[v];
        }
        for (int v = 0; v < V; v++) p_V[v] /= sum;
        Arrays.sort(order, (a, b) -> Double.compare(p_V[b], p_V[a]));
        int kept = topK == 0 ? V : topK;
        double mass = 0;
        for (int i = 0; i < kept; i++) mass += p_V[order[i]];
        double reached = 0;
        int last = 0;
        while (last < kept && (reached += p_V[order[last++]] / mass) < topP) {}
        double[] cut_V = new double[V];
        double left = 0;
        for (int i = 0; i < last; i++) left += p_V[order[i]];
        for (int i = 0; i < last; i++) cut_V[order[i]] = p_V[order[i]] / left;
        return cut_V;
    }
}
