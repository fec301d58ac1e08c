package org.panamoe.cli;

import static org.assertj.core.api.Assertions.assertThat;

import java.io.IOException;
import java.util.stream.IntStream;
import org.junit.jupiter.api.Test;
import org.panamoe.backend.Backend;
import org.panamoe.checkpoint.Checkpoint;
import org.panamoe.engine.TeacherForcing;
import org.panamoe.lab.routing.LiveLoads;
import org.panamoe.model.Model;
import org.panamoe.model.Observer;

/** The lab looks on while a model runs. */
class LiveLoadsTest {
    private static final int TOKENS = 256;

    @Test
    void lookingOnCostsLessThanAHundredth() throws IOException {
        try (var checkpoint = Checkpoint.open(ModelOption.embedded());
                var kernels = Backend.require("cpu");
                var model = Model.load(checkpoint, kernels)) {
            var config = checkpoint.config();
            var live = new LiveLoads(config.nRoutedExperts(), 8);
            long[] looking = new long[1];
            model.observe(new Observer() {
                @Override
                public void routed(int layer, int T, float[] score_TE, int[] expert_TK, float[] share_TK) {
                    long began = System.nanoTime();
                    live.routed(layer, T, score_TE, expert_TK, share_TK);
                    looking[0] += System.nanoTime() - began;
                }
            });
            int[] tokens = IntStream.range(0, TOKENS).map(i -> 5 + i).toArray();
            int runs = 20;
            for (int run = 0; run < runs; run++) TeacherForcing.logits(model, tokens, (position, logit_V) -> {});
            looking[0] = 0;
            long began = System.nanoTime();
            for (int run = 0; run < runs; run++) TeacherForcing.logits(model, tokens, (position, logit_V) -> {});
            double share = (double) looking[0] / (System.nanoTime() - began);
            assertThat(share).as("share of the time").isPositive().isLessThan(0.01);
            for (int layer = 1; layer < config.numHiddenLayers(); layer++) {
                var load_E = live.all().table().row(layer);
                assertThat(load_E).hasSize(config.nRoutedExperts());
                assertThat(load_E.values().stream().mapToLong(Long::longValue).sum())
                        .isEqualTo(2L * runs * TOKENS * config.numExpertsPerTok())
                        .isEqualTo(live.tokens(layer) * config.numExpertsPerTok());
            }
        }
    }
}
