package org.panamoe.checkpoint;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.TreeSet;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;
import org.panamoe.checkpoint.ModelConfig.TopkMethod;
import org.panamoe.checkpoint.ModelConfig.Yarn;

class ModelConfigTest {
    /** Files of shared/data/configs that become a config; every other is refused with the given words. */
    private static final List<String> PARSED = List.of(
            "hf/deepseek-ai--DeepSeek-R1_config.json",
            "hf/deepseek-ai--DeepSeek-V2-Lite_config.json",
            "hf/deepseek-ai--DeepSeek-V3_config.json",
            "hf/moonshotai--Kimi-K2-Instruct_config.json",
            // Says nothing of its quantisation: hf_quant_config.json beside it does, see refusesModelOpt.
            "hf/nvidia--DeepSeek-V3.1-NVFP4_config.json",
            "hf-small/fake_mla_hf_model.json");

    private static final Map<String, String> REFUSED = new TreeMap<>();

    static {
        String v32 = "model_type: \"deepseek_v32\" is not supported: V3.2's indexer";
        String v4 = "model_type: \"deepseek_v4\" is not supported";
        String glm = "model_type: \"glm_moe_dsa\" is not supported";
        String kimi = "model_type: \"kimi_k25\" is not supported";
        String quant = "model_type: missing";
        String nativeFormat = "n_layers: ";
        for (var e : Map.of(
                        v32,
                        List.of(
                                "hf/deepseek-ai--DeepSeek-V3.2_config.json",
                                "hf/nvidia--DeepSeek-V3.2-NVFP4_config.json",
                                "hf-small/fake_dsa_hf_model.json",
                                "infersim/deepseek_v3.2_config.json"),
                        v4,
                        List.of(
                                "hf/deepseek-ai--DeepSeek-V4-Flash_config.json",
                                "hf/deepseek-ai--DeepSeek-V4-Pro_config.json",
                                "hf/nvidia--DeepSeek-V4-Flash-NVFP4_config.json",
                                "hf/nvidia--DeepSeek-V4-Pro-NVFP4_config.json"),
                        "model_type: \"deepseek_ref\" is not supported",
                        List.of(
                                "hf/sgl-project--DeepSeek-V4-Flash-FP8_config.json",
                                "hf/sgl-project--DeepSeek-V4-Pro-FP8_config.json"),
                        glm,
                        List.of(
                                "hf/nvidia--GLM-5-NVFP4_config.json",
                                "hf/nvidia--GLM-5.1-NVFP4_config.json",
                                "hf/nvidia--GLM-5.2-NVFP4_config.json",
                                "hf/zai-org--GLM-5-FP8_config.json",
                                "hf/zai-org--GLM-5.1-FP8_config.json",
                                "hf/zai-org--GLM-5.1_config.json",
                                "hf/zai-org--GLM-5.2-FP8_config.json",
                                "hf/zai-org--GLM-5.2_config.json",
                                "hf/zai-org--GLM-5_config.json"),
                        kimi,
                        List.of(
                                "hf/moonshotai--Kimi-K2.5_config.json",
                                "hf/nvidia--Kimi-K2.5-NVFP4_config.json",
                                "hf/nvidia--Kimi-K2.6-NVFP4_config.json",
                                "hf/nvidia--Kimi-K2.7-Code-NVFP4_config.json"),
                        "model_type: \"kimi_k3\" is not supported",
                        List.of("hf/moonshotai--Kimi-K3_config.json"),
                        quant,
                        List.of(
                                "hf/nvidia--DeepSeek-V3.1-NVFP4_hf_quant_config.json",
                                "hf/nvidia--DeepSeek-V3.2-NVFP4_hf_quant_config.json",
                                "hf/nvidia--DeepSeek-V4-Flash-NVFP4_hf_quant_config.json",
                                "hf/nvidia--DeepSeek-V4-Pro-NVFP4_hf_quant_config.json",
                                "hf/nvidia--GLM-5-NVFP4_hf_quant_config.json",
                                "hf/nvidia--GLM-5.1-NVFP4_hf_quant_config.json",
                                "hf/nvidia--GLM-5.2-NVFP4_hf_quant_config.json",
                                "hf/nvidia--Kimi-K2.6-NVFP4_hf_quant_config.json",
                                "hf/nvidia--Kimi-K2.7-Code-NVFP4_hf_quant_config.json"),
                        nativeFormat,
                        List.of(
                                "native/config_16B.json",
                                "native/config_236B.json",
                                "native/config_671B.json",
                                "native/config_671B_v3.2.json",
                                "native/config_v3.1.json"))
                .entrySet()) for (String file : e.getValue()) REFUSED.put(file, e.getKey());
        REFUSED.put("hf-other-arch/Qwen--Qwen3-0.6B_config.json", "model_type: \"qwen3\" is not supported");
        REFUSED.put("hf-other-arch/Qwen--Qwen3-30B-A3B_config.json", "model_type: \"qwen3_moe\" is not supported");
        REFUSED.put("hf-other-arch/meta-llama--Meta-Llama-3.1-8B_config.json", "model_type: \"llama\" is not");
        REFUSED.put("hf-other-arch/mistralai--Mixtral-8x7B-v0.1_config.json", "model_type: \"mixtral\" is not");
        REFUSED.put("hf-other-arch/openai--gpt-oss-20b_config.json", "model_type: \"gpt_oss\" is not supported");
        REFUSED.put("infersim/qwen3-30B-A3B_config.json", "model_type: \"qwen3_moe\" is not supported");
        // A simulator's own spelling: without n_routed_experts this would be a dense model.
        REFUSED.put("infersim/deepseek_v3_config.json", "num_routed_experts: 256 is not understood");
    }

    @Test
    void everyPublishedConfigHasItsVerdict() throws IOException {
        Path configs = Golden.shared("data/configs");
        var seen = new TreeSet<String>();
        try (var files = Files.walk(configs)) {
            for (Path file : files.filter(f -> f.toString().endsWith(".json")).toList()) {
                String name = configs.relativize(file).toString();
                seen.add(name);
                if (PARSED.contains(name)) {
                    assertThat(ModelConfig.parse(file).kvLoraRank()).as(name).isEqualTo(512);
                } else {
                    assertThat(REFUSED).as("verdict").containsKey(name);
                    assertThatThrownBy(() -> ModelConfig.parse(file))
                            .isInstanceOf(CheckpointException.class)
                            .hasMessageStartingWith(file.getFileName() + ": ")
                            .hasMessageContaining(REFUSED.get(name));
                }
            }
        }
        assertThat(seen).containsAll(PARSED).containsAll(REFUSED.keySet());
    }

    @Test
    void readsEveryFieldOfV3() {
        var c = ModelConfig.parse(Golden.shared("data/configs/hf/deepseek-ai--DeepSeek-V3_config.json"));
        assertThat(c)
                .isEqualTo(new ModelConfig(
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
                        TopkMethod.NOAUX_TC,
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
                        new Yarn(40, 4096, 32, 1, 1, 1),
                        163840,
                        false,
                        0,
                        List.of(1),
                        new ModelConfig.Fp8("")));
        assertThat(c.isMoe(2)).isFalse();
        assertThat(c.isMoe(3)).isTrue();
        assertThat(c.isMoe(61)).isTrue();
    }

    @Test
    void readsV2Lite() {
        var c = ModelConfig.parse(Golden.shared("data/configs/hf/deepseek-ai--DeepSeek-V2-Lite_config.json"));
        assertThat(c.qLoraRank()).isZero();
        assertThat(c.topkMethod()).isEqualTo(TopkMethod.GREEDY);
        assertThat(c.normTopkProb()).isFalse();
        assertThat(c.ropeScaling()).isEqualTo(new Yarn(40, 4096, 32, 1, 0.707f, 0.707f));
        assertThat(c.numNextnPredictLayers()).isZero();
        assertThat(c.quantizationConfig()).isNull();
    }

    @Test
    void bothSpellingsOfRopeMeanTheSame(@TempDir Path folder) {
        String yarn = text("v3-tiny-yarn");
        String parameters = yarn.replace("\"rope_theta\": 10000.0,", "")
                .replace("\"rope_scaling\": {", "\"rope_parameters\": {\"rope_theta\": 10000.0,")
                .replace("\"type\": \"yarn\"", "\"rope_type\": \"yarn\"");
        assertThat(parameters).contains("rope_parameters").doesNotContain("rope_scaling");
        assertThat(parse(folder, parameters)).isEqualTo(parse(folder, yarn));

        String plain = text("v3-tiny-fp32");
        String byDefault = plain.replace("\"rope_theta\": 10000.0,", "")
                .replace(
                        "\"rope_scaling\": null",
                        "\"rope_parameters\": {\"rope_theta\": 10000, \"rope_type\": \"default\"}");
        assertThat(parse(folder, byDefault)).isEqualTo(parse(folder, plain));
        assertThat(parse(folder, plain.replace("\"rope_scaling\": null,", ""))).isEqualTo(parse(folder, plain));
    }

    @Test
    void endTokensComeFromBothFiles(@TempDir Path folder) throws IOException {
        Files.writeString(
                folder.resolve("config.json"),
                text("v3-tiny-fp32").replace("\"eos_token_id\": 1", "\"eos_token_id\": [1, 7]"));
        Files.writeString(folder.resolve("generation_config.json"), "{\"eos_token_id\": [7, 9], \"temperature\": 0.6}");
        assertThat(ModelConfig.parse(folder).eosTokenId()).containsExactly(1, 7, 9);
    }

    @Test
    void refusesModelOpt(@TempDir Path folder) throws IOException {
        Files.writeString(folder.resolve("config.json"), text("v3-tiny-fp32"));
        Files.writeString(folder.resolve("hf_quant_config.json"), "{\"quantization\": {\"quant_algo\": \"NVFP4\"}}");
        assertThatThrownBy(() -> ModelConfig.parse(folder))
                .isInstanceOf(CheckpointException.class)
                .hasMessage("hf_quant_config.json: quantization.quant_algo: \"NVFP4\" is not supported");
    }

    /** One edit of a sound config each; the message names the file, the field and the value. */
    @ParameterizedTest
    @CsvSource(delimiter = '|', quoteCharacter = '\'', textBlock = """
            'model_type": "deepseek_v3"'     | 'model_type": "deepseek_v32"'         | model_type: "deepseek_v32" is not supported
            'model_type": "deepseek_v3"'     | 'model_type": 3'                      | model_type: 3 is not a string
            'DeepseekV3ForCausalLM'          | 'DeepseekV3ForCausalLMNextN'          | architectures: ["DeepseekV3ForCausalLMNextN"] is not
            'hidden_size": 256'              | 'hidden_size": 0'                     | hidden_size: 0 is not in
            'hidden_size": 256'              | 'hidden_size": -256'                  | hidden_size: -256 is not in
            'hidden_size": 256'              | 'hidden_size": 2147483647'            | hidden_size: 2147483647 is not in
            'hidden_size": 256'              | 'hidden_size": 99999999999999999999'  | hidden_size: 99999999999999999999 is not an integer
            'hidden_size": 256'              | 'hidden_size": 256.0'                 | hidden_size: 256.0 is not an integer
            'hidden_size": 256'              | 'hidden_size": "256"'                 | hidden_size: "256" is not an integer
            'hidden_size": 256'              | 'hidden_size": null'                  | hidden_size: null but is required
            '"hidden_size": 256,'            | ''                                    | hidden_size: missing
            'hidden_size": 256'              | 'hidden_size": 256, "hidden_size": 8' | hidden_size
            'qk_rope_head_dim": 16'          | 'qk_rope_head_dim": 15'               | qk_rope_head_dim: 15 is odd
            'num_experts_per_tok": 4'        | 'num_experts_per_tok": 9'             | num_experts_per_tok: 9 is above the 8 experts
            'num_experts_per_tok": 4'        | 'num_experts_per_tok": 0'             | num_experts_per_tok: 0 is not in
            'n_group": 4'                    | 'n_group": 3'                         | n_group: 3 does not divide n_routed_experts 16
            'n_group": 4'                    | 'n_group": 16'                        | n_group: 16 leaves one expert
            'topk_group": 2'                 | 'topk_group": 5'                      | topk_group: 5 is not in [1, 4]
            'topk_method": "noaux_tc"'       | 'topk_method": "greedy"'              | topk_method: greedy does not exist in deepseek_v3
            'topk_method": "noaux_tc"'       | 'topk_method": "best"'                | topk_method: "best" is none of
            'scoring_func": "sigmoid"'       | 'scoring_func": "softmax"'            | scoring_func: "softmax" is not sigmoid
            'scoring_func": "sigmoid"'       | 'scoring_func": "sqrtsoftplus"'       | scoring_func: "sqrtsoftplus" is not
            'hidden_act": "silu"'            | 'hidden_act": "gelu"'                 | hidden_act: "gelu" is not silu
            'attention_bias": false'         | 'attention_bias": true'               | attention_bias: true is not implemented
            'attention_bias": false'         | 'attention_bias": "no"'               | attention_bias: "no" is neither
            'rms_norm_eps": 1e-06'           | 'rms_norm_eps": NaN'                  | rms_norm_eps: "NaN" is not a finite number
            'rms_norm_eps": 1e-06'           | 'rms_norm_eps": 1e-60'                | rms_norm_eps: 0.0 is not above 0
            'rms_norm_eps": 1e-06'           | 'rms_norm_eps": 1e60'                 | rms_norm_eps: 1.0E60 is not a finite number
            'routed_scaling_factor": 2.5'    | 'routed_scaling_factor": -2.5'        | routed_scaling_factor: -2.5 is not above 0
            'rope_theta": 10000.0'           | 'rope_theta": 1.0'                    | rope_theta: 1.0 is not above 1
            '"rope_theta": 10000.0,'         | ''                                    | rope_theta: missing
            'rope_scaling": null'            | 'rope_scaling": {"type": "linear", "factor": 4}' | rope_scaling.type: "linear" is neither
            'rope_scaling": null'            | 'rope_scaling": {"type": "default", "factor": 4}' | rope_scaling.factor: 4 is not understood
            'rope_scaling": null'            | 'rope_scaling": {"type": "yarn", "factor": 4}' | rope_scaling.original_max_position_embeddings: missing
            'rope_scaling": null'            | 'rope_scaling": 4'                    | rope_scaling: 4 is not an object
            'rope_scaling": null'            | 'rope_parameters": {"rope_theta": 5}' | rope_theta: 5 is not 10000.0
            'moe_layer_freq": 1'             | 'moe_layer_freq": [0, 1]'             | moe_layer_freq: [0,1] is not an integer
            'first_k_dense_replace": 1'      | 'first_k_dense_replace": 5'           | first_k_dense_replace: 5 is not in [0, 4]
            'n_routed_experts": 16'          | 'n_routed_experts": 66000'            | n_routed_experts: 66000 is not in
            'eos_token_id": 1'               | 'eos_token_id": [1, 1024]'            | eos_token_id: 1024 is not in
            'use_cache": true'               | 'use_cache": true, "sliding_window": 128' | sliding_window: 128 is not understood
            'use_cache": true'               | 'use_cache": true, "swiglu_limit": 7.0'   | swiglu_limit: 7.0 is not understood
            'use_cache": true'               | 'use_cache": true, "index_topk": 2048'    | index_topk: 2048 is not understood
            'use_cache": true'               | 'use_cache": true, "compress_ratios": [0]' | compress_ratios: [0] is not understood
            'use_cache": true'               | 'use_cache": true, "head_dim": 192'       | head_dim: 192 is not qk_rope_head_dim
            'use_cache": true'               | 'use_cache": true, "rope_interleave": false' | rope_interleave: false is not implemented
            'use_cache": true'               | 'use_cache": true, "quantization_config": {"quant_method": "awq"}' | quantization_config.quant_method: "awq" is not supported
            'use_cache": true'               | 'use_cache": true, "quantization_config": {"quant_method": "fp8"}' | quantization_config.weight_block_size: is not
            'use_cache": true'               | 'use_cache": true, "quantization_config": {"quant_method": "fp8", "weight_block_size": [64, 128]}' | quantization_config.weight_block_size: [64,128] is not
            'use_cache": true'               | 'use_cache": true, "quantization_config": {"quant_method": "fp8", "fmt": "e5m2", "weight_block_size": [128, 128]}' | quantization_config.fmt: "e5m2" is not e4m3
            'use_cache": true'               | 'use_cache": true, "quantization_config": {"quant_method": "fp8", "activation_scheme": "static", "weight_block_size": [128, 128]}' | quantization_config.activation_scheme: "static" is not dynamic
            'use_cache": true'               | 'use_cache": true, "quantization_config": {"quant_method": "fp8", "weight_block_size": [128, 128], "config_groups": {}}' | quantization_config.config_groups: {} is not understood
            """)
    void refusesByName(String from, String to, String message, @TempDir Path folder) {
        String sound = text("v3-tiny-fp32");
        assertThat(sound).contains(from);
        assertThatThrownBy(() -> parse(folder, sound.replace(from, to)))
                .isInstanceOf(CheckpointException.class)
                .hasMessageStartingWith("config.json")
                .hasMessageContaining(message);
    }

    /** Sizes that are possible alone, but not together. */
    @Test
    void refusesAbsurdProducts(@TempDir Path folder) {
        String sound = text("v3-tiny-fp32");
        assertThatThrownBy(() -> parse(
                        folder,
                        sound.replace("\"num_attention_heads\": 8", "\"num_attention_heads\": 16384")
                                .replace("\"qk_nope_head_dim\": 32", "\"qk_nope_head_dim\": 16384")))
                .isInstanceOf(CheckpointException.class)
                .hasMessageContaining(
                        "num_attention_heads * (qk_nope_head_dim + qk_rope_head_dim): 268697600 is not in");
        assertThatThrownBy(() -> parse(
                        folder,
                        sound.replace("\"n_routed_experts\": 16", "\"n_routed_experts\": 65536")
                                .replace("\"num_hidden_layers\": 4", "\"num_hidden_layers\": 5")))
                .isInstanceOf(CheckpointException.class)
                .hasMessageContaining("n_routed_experts: 65536 times the layers is 327680");
    }

    /** A dense model's sizes of experts are used for nothing, but buffers are made by them. */
    @ParameterizedTest
    @CsvSource(delimiter = '|', textBlock = """
            "moe_intermediate_size": -5 | moe_intermediate_size: -5 is not in [0,
            "moe_intermediate_size": 1073741824 | moe_intermediate_size: 1073741824 is not in
            "n_shared_experts": -1 | n_shared_experts: -1 is not in [0,
            "n_shared_experts": 1024, "moe_intermediate_size": 1048576 | moe_intermediate_size: 1073741824 is not in
            "num_experts_per_tok": -1 | num_experts_per_tok: -1 is not in [0,
            """)
    void refusesWhatADenseModelCannotHave(String keys, String message, @TempDir Path folder) {
        String dense = text("v3-tiny-fp32")
                .replaceAll("\"(n_routed|n_shared|num)_experts[a-z_]*\": \\d+,", "")
                .replaceAll("\"moe_intermediate_size\": \\d+,", "")
                .replaceAll("\"(n_group|topk_group)\": \\d+,", "");
        assertThat(parse(folder, dense).isMoe(3)).isFalse();
        assertThatThrownBy(() -> parse(folder, dense.replaceFirst("\\{", "{" + keys + ",")))
                .isInstanceOf(CheckpointException.class)
                .hasMessageContaining(message);
    }

    @Test
    void v2RulesAreItsOwn(@TempDir Path folder) {
        String v2 = text("v2-group-tiny");
        for (String[] edit : new String[][] {
            {
                "\"norm_topk_prob\": false",
                "\"norm_topk_prob\": true",
                "norm_topk_prob: true is not defined for deepseek_v2"
            },
            {"\"group_limited_greedy\"", "\"noaux_tc\"", "topk_method: noaux_tc does not exist in deepseek_v2"},
            {"\"group_limited_greedy\"", "\"greedy\"", "n_group: 4 with topk_method greedy"},
            {"\"softmax\"", "\"sigmoid\"", "scoring_func: \"sigmoid\" is not softmax"},
        })
            assertThatThrownBy(() -> parse(folder, v2.replace(edit[0], edit[1])))
                    .isInstanceOf(CheckpointException.class)
                    .hasMessageContaining(edit[2]);
        String lite = text("v2-lite-tiny");
        assertThat(parse(
                        folder,
                        lite.replace("\"n_group\": 1", "\"n_group\": null")
                                .replace("\"topk_group\": 1", "\"topk_group\": null")))
                .isEqualTo(parse(folder, lite));
    }

    @ParameterizedTest
    @ValueSource(
            strings = {
                "",
                "{",
                "[]",
                "3",
                "null",
                "{} {}",
                "{\"model_type\": \"deepseek_v3\"",
                "\u0000\u0000",
                "{\"a\": 01}"
            })
    void refusesWhatIsNotJson(String text, @TempDir Path folder) {
        assertThatThrownBy(() -> parse(folder, text))
                .isInstanceOf(CheckpointException.class)
                .hasMessageStartingWith("config.json");
    }

    @Test
    void refusesDeepNesting(@TempDir Path folder) {
        assertThatThrownBy(() -> parse(folder, "{\"a\":" + "[".repeat(1_000_000)))
                .isInstanceOf(CheckpointException.class)
                .hasMessageContaining("nesting depth");
    }

    @Test
    void messagesCannotSteerATerminal(@TempDir Path folder) {
        String evil = text("v3-tiny-fp32")
                .replace("\"use_cache\"", "\"\\u001b[2J\\n\\u009b\\u0085\\u202e\": 1, \"use_cache\"");
        assertThatThrownBy(() -> parse(folder, evil))
                .isInstanceOf(CheckpointException.class)
                .hasMessage("config.json: ?[2J????: 1 is not understood here, and may change what the model computes");
    }

    private static String text(String variant) {
        try {
            return Files.readString(Golden.folder(variant).resolve("config.json"));
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
    }

    private static ModelConfig parse(Path folder, String config) {
        try {
            Files.writeString(folder.resolve("config.json"), config);
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
        return ModelConfig.parse(folder);
    }
}
