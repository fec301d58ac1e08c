package org.panamoe.checkpoint;

import java.nio.file.Files;
import java.nio.file.Path;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.Set;
import org.jspecify.annotations.Nullable;
import org.panamoe.checkpoint.ModelConfig.Fp8;
import org.panamoe.checkpoint.ModelConfig.Integers;
import org.panamoe.checkpoint.ModelConfig.Quantization;
import org.panamoe.checkpoint.ModelConfig.TopkMethod;
import org.panamoe.checkpoint.ModelConfig.Yarn;
import org.panamoe.tensor.QuantFormat;

/** config.json to {@link ModelConfig}: what is not understood is refused by name, never guessed. */
final class ConfigReader {
    /** Why a relative of this family cannot be run. */
    private static final Map<String, String> RELATIVES = Map.of(
            "deepseek", "V1 has no latent attention",
            "deepseek_v32", "V3.2's indexer is not implemented",
            "deepseek_v4", "V4 is another architecture",
            "glm_moe_dsa", "its indexer is not implemented",
            "kimi_k25", "vision models are not implemented",
            "kimi_k3", "K3 is another architecture");

    /** Keys that published configs carry and that change nothing in inference with this implementation. */
    private static final Set<String> HARMLESS = Set.of(
            // training
            "aux_loss_alpha",
            "seq_aux",
            "attention_dropout",
            "initializer_range",
            "router_aux_loss_coef",
            // how somebody else runs it
            "auto_map",
            "ep_size",
            "pretraining_tp",
            "use_cache",
            "transformers_version",
            "unsloth_version",
            "unsloth_fixed",
            // latent attention has one key for all heads
            "num_key_value_heads",
            // tensors say their own types
            "torch_dtype",
            "dtype",
            // what transformers writes for every model
            "pad_token_id",
            "name_or_path",
            "chunk_size_feed_forward",
            "diversity_penalty",
            "do_sample",
            "encoder_no_repeat_ngram_size",
            "id2label",
            "label2id",
            "length_penalty",
            "max_length",
            "min_length",
            "no_repeat_ngram_size",
            "num_beam_groups",
            "num_beams",
            "num_return_sequences",
            "output_attentions",
            "output_hidden_states",
            "output_router_logits",
            "pruned_heads",
            "repetition_penalty",
            "return_dict",
            "temperature",
            "tokenizer_class",
            "top_k",
            "top_p",
            "typical_p",
            "task_specific_params");

    private final Json json;
    private final boolean v2;

    private ConfigReader(Json json, boolean v2) {
        this.json = json;
        this.v2 = v2;
    }

    static ModelConfig read(Path path) {
        if (!Files.exists(path)) throw new CheckpointException(path.toString(), "does not exist");
        if (!Files.isReadable(path))
            throw new CheckpointException(path.toString(), "cannot be read: permission denied");
        if (!Files.isDirectory(path)) return read(Json.read(path), List.of());
        var file = path.resolve("config.json");
        if (!Files.exists(file)) throw new CheckpointException(path.toString(), "has no config.json");
        var config = Json.read(file);
        checkModelType(config);
        refuseOtherQuantization(path.resolve("hf_quant_config.json"));
        var generation = path.resolve("generation_config.json");
        List<Integer> eos = Files.exists(generation) ? Json.read(generation).integers("eos_token_id") : List.of();
        return read(config, eos);
    }

    /** NVIDIA's ModelOpt says in a file of its own that the weights are not what config.json describes. */
    private static void refuseOtherQuantization(Path file) {
        if (!Files.exists(file)) return;
        var quantization = Json.read(file).object("quantization");
        if (quantization == null) throw new CheckpointException(Json.fileName(file), "quantization: missing");
        quantization.require("quant_algo", !quantization.has("quant_algo"), "is not supported");
    }

    private static ModelConfig read(Json json, List<Integer> moreEos) {
        checkModelType(json);
        try {
            return new ConfigReader(json, json.text("model_type").equals("deepseek_v2")).config(moreEos);
        } catch (CheckpointException e) {
            throw e;
        } catch (IllegalArgumentException e) {
            throw new CheckpointException(json.file(), String.valueOf(e.getMessage()), e);
        }
    }

    private static void checkModelType(Json json) {
        if (!json.has("model_type") && json.has("n_layers") && json.has("n_heads"))
            throw json.wrong(
                    "n_layers",
                    "belongs to DeepSeek's own inference format; the published Hugging Face folder is needed instead");
        String type = json.text("model_type");
        boolean ours = Set.of("deepseek_v2", "deepseek_v3", "kimi_k2").contains(type);
        String why = RELATIVES.get(type);
        json.require(
                "model_type",
                ours,
                (why == null ? "is not supported" : "is not supported: " + why)
                        + " (deepseek_v2, deepseek_v3 and kimi_k2 are)");
        String architecture = v2(type) ? "DeepseekV2ForCausalLM" : "DeepseekV3ForCausalLM";
        var architectures = json.texts("architectures");
        json.require(
                "architectures",
                architectures.isEmpty() || architectures.equals(List.of(architecture)),
                "is not " + architecture);
    }

    private static boolean v2(String type) {
        return type.equals("deepseek_v2");
    }

    private ModelConfig config(List<Integer> moreEos) {
        // Each of these would be another computation.
        json.require("hidden_act", json.text("hidden_act", "silu").equals("silu"), "is not silu");
        for (String bias : List.of("attention_bias", "mlp_bias"))
            json.require(bias, !json.flag(bias, false), "is not implemented: projections have no bias");
        json.require("rope_interleave", json.flag("rope_interleave", true), "is not implemented: pairs are neighbours");
        json.require("use_mla", json.flag("use_mla", true), "is not implemented: attention is latent");
        String scoring = v2 ? "softmax" : "sigmoid";
        json.require(
                "scoring_func",
                json.text("scoring_func", scoring).equals(scoring),
                "is not " + scoring + " in this model_type");

        int qkNopeHeadDim = json.integer("qk_nope_head_dim");
        int qkRopeHeadDim = json.integer("qk_rope_head_dim");
        // transformers writes these two; they follow from the others.
        long qkHeadDim = (long) qkNopeHeadDim + qkRopeHeadDim;
        json.require(
                "qk_head_dim",
                !json.has("qk_head_dim") || json.integer("qk_head_dim") == qkHeadDim,
                "is not qk_nope_head_dim + qk_rope_head_dim = " + qkHeadDim);
        json.require(
                "head_dim",
                !json.has("head_dim") || json.integer("head_dim") == qkRopeHeadDim,
                "is not qk_rope_head_dim = " + qkRopeHeadDim);

        int nRoutedExperts = json.integer("n_routed_experts", 0);
        boolean moe = nRoutedExperts != 0;
        int nGroup = json.integer("n_group", 1);
        Rope rope = rope();
        var eos = new LinkedHashSet<>(json.integers("eos_token_id"));
        eos.addAll(moreEos);
        int numHiddenLayers = json.integer("num_hidden_layers");
        var config = new ModelConfig(
                json.text("model_type"),
                json.integer("vocab_size"),
                json.integer("hidden_size"),
                numHiddenLayers,
                json.integer("num_nextn_predict_layers", 0),
                moe ? json.integer("first_k_dense_replace") : json.integer("first_k_dense_replace", numHiddenLayers),
                json.integer("moe_layer_freq", 1),
                json.integer("intermediate_size"),
                moe ? json.integer("moe_intermediate_size") : json.integer("moe_intermediate_size", 0),
                nRoutedExperts,
                json.integer("n_shared_experts", 0),
                moe ? json.integer("num_experts_per_tok") : json.integer("num_experts_per_tok", 0),
                nGroup,
                nGroup == 1 ? json.integer("topk_group", 1) : json.integer("topk_group"),
                topkMethod(),
                json.flag("norm_topk_prob", !v2),
                moe ? json.number("routed_scaling_factor") : json.number("routed_scaling_factor", 1),
                json.integer("num_attention_heads"),
                json.integer("q_lora_rank", 0),
                json.integer("kv_lora_rank"),
                qkNopeHeadDim,
                qkRopeHeadDim,
                json.integer("v_head_dim"),
                json.number("rms_norm_eps"),
                rope.theta,
                rope.yarn,
                json.integer("max_position_embeddings"),
                json.flag("tie_word_embeddings", false),
                json.integer("bos_token_id", -1),
                List.copyOf(eos),
                quantization());
        json.refuseOthers(HARMLESS);
        return config;
    }

    private TopkMethod topkMethod() {
        return switch (json.text("topk_method", v2 ? "greedy" : "noaux_tc")) {
            case "greedy" -> TopkMethod.GREEDY;
            case "group_limited_greedy" -> TopkMethod.GROUP_LIMITED_GREEDY;
            case "noaux_tc" -> TopkMethod.NOAUX_TC;
            default -> throw json.wrong("topk_method", "is none of greedy, group_limited_greedy, noaux_tc");
        };
    }

    private record Rope(float theta, @Nullable Yarn yarn) {}

    /** Two spellings: rope_theta beside rope_scaling, and transformers 5's rope_parameters. If both are there they agree. */
    private Rope rope() {
        @Nullable Json scaling = json.object("rope_scaling");
        @Nullable Json parameters = json.object("rope_parameters");
        Float theta = theta(json, null);
        if (scaling != null) theta = theta(scaling, theta);
        if (parameters != null) theta = theta(parameters, theta);
        if (theta == null) throw json.wrong("rope_theta", "missing");
        @Nullable Yarn yarn = yarn(scaling);
        if (parameters != null) {
            @Nullable Yarn other = yarn(parameters);
            json.require("rope_parameters", scaling == null || Objects.equals(other, yarn), "contradicts rope_scaling");
            yarn = other;
        }
        return new Rope(theta, yarn);
    }

    private static @Nullable Float theta(Json from, @Nullable Float known) {
        if (!from.has("rope_theta")) return known;
        float theta = from.number("rope_theta");
        from.require("rope_theta", known == null || known == theta, "is not " + known + ", as elsewhere");
        return theta;
    }

    private static @Nullable Yarn yarn(@Nullable Json from) {
        if (from == null) return null;
        String type = from.text("rope_type", from.text("type", "default"));
        from.require("type", from.text("type", type).equals(type), "is not rope_type " + type);
        return switch (type) {
            case "default" -> {
                from.refuseOthers(Set.of());
                yield null;
            }
            case "yarn" -> {
                var yarn = new Yarn(
                        from.number("factor"),
                        from.integer("original_max_position_embeddings"),
                        from.number("beta_fast", 32),
                        from.number("beta_slow", 1),
                        from.number("mscale", 1),
                        from.number("mscale_all_dim", 0));
                from.require("truncate", from.flag("truncate", true), "is not implemented");
                from.refuseOthers(Set.of());
                yield yarn;
            }
            default -> throw from.wrong(from.has("rope_type") ? "rope_type" : "type", "is neither default nor yarn");
        };
    }

    private @Nullable Quantization quantization() {
        @Nullable Json from = json.object("quantization_config");
        if (from == null) return null;
        return switch (from.text("quant_method")) {
            case "fp8" -> fp8(from);
            case "panamoe" -> integers(from);
            default -> throw from.wrong("quant_method", "is not supported (fp8 and panamoe are)");
        };
    }

    private static Integers integers(Json from) {
        int bits = from.integer("bits");
        from.require("bits", bits == 8 || bits == 4, "is neither 8 nor 4");
        var format = bits == 8 ? QuantFormat.INT8 : QuantFormat.INT4;
        from.require("group_size", from.integer("group_size") == format.block, "is not " + format.block);
        from.refuseOthers(Set.of());
        return new Integers(format);
    }

    private static Fp8 fp8(Json from) {
        from.require("fmt", from.text("fmt", "e4m3").equals("e4m3"), "is not e4m3");
        from.require(
                "weight_block_size", from.integers("weight_block_size").equals(List.of(128, 128)), "is not [128,128]");
        from.require(
                "activation_scheme", from.text("activation_scheme", "dynamic").equals("dynamic"), "is not dynamic");
        String scaleFmt = from.text("scale_fmt", "");
        from.require("scale_fmt", scaleFmt.isEmpty() || scaleFmt.equals("ue8m0"), "is not ue8m0");
        // Which projections stay unquantised, each tensor's type says itself.
        from.refuseOthers(Set.of("modules_to_not_convert", "ignored_layers"));
        return new Fp8(scaleFmt);
    }
}
