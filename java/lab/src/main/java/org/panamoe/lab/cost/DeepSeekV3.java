package org.panamoe.lab.cost;

import java.util.List;
import org.panamoe.checkpoint.ModelConfig;

/** The published model, for accounts that name no other. */
public final class DeepSeekV3 {
    /** As the report (4.2) has it, and config.json of the checkpoint. */
    public static final ModelConfig CONFIG = new ModelConfig(
            "deepseek_v3",
            129280,
            7168,
            61,
            1,
            3,
            1,
            18432,
            2048,
            256,
            1,
            8,
            8,
            4,
            ModelConfig.TopkMethod.NOAUX_TC,
            true,
            2.5f,
            128,
            1536,
            512,
            128,
            64,
            128,
            1e-6f,
            10000,
            new ModelConfig.Yarn(40, 4096, 32, 1, 1, 1),
            163840,
            false,
            0,
            List.of(1),
            new ModelConfig.Fp8(""));

    private DeepSeekV3() {}
}
