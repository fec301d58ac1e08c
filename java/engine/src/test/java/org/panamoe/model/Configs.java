package org.panamoe.model;

import java.util.List;
import org.jspecify.annotations.Nullable;
import org.panamoe.checkpoint.ModelConfig;
import org.panamoe.checkpoint.ModelConfig.TopkMethod;
import org.panamoe.checkpoint.ModelConfig.Yarn;

/** Configurations for single parts of a model; what the part does not look at is small. */
final class Configs {
    private Configs() {}

    static ModelConfig router(TopkMethod method, int E, int K, int G, int kept, boolean norm, float factor) {
        return of(method, E, K, G, kept, norm, factor, 64, null, 32);
    }

    /** DeepSeek-V3's head: 128 channels without rope, 64 with. */
    static ModelConfig rotary(@Nullable Yarn yarn) {
        return of(TopkMethod.NOAUX_TC, 16, 4, 4, 2, true, 2.5f, 64, yarn, 128);
    }

    private static ModelConfig of(
            TopkMethod method,
            int E,
            int K,
            int G,
            int kept,
            boolean norm,
            float factor,
            int R,
            @Nullable Yarn yarn,
            int P) {
        return new ModelConfig(
                method == TopkMethod.NOAUX_TC ? "deepseek_v3" : "deepseek_v2",
                128,
                64,
                2,
                0,
                1,
                1,
                64,
                32,
                E,
                1,
                K,
                G,
                kept,
                method,
                norm,
                factor,
                2,
                32,
                32,
                P,
                R,
                32,
                1e-6f,
                10000f,
                yarn,
                163840,
                false,
                0,
                List.of(1),
                null);
    }
}
