package org.panamoe.benchmarks;

import java.lang.foreign.Arena;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.concurrent.TimeUnit;
import org.openjdk.jmh.annotations.AuxCounters;
import org.openjdk.jmh.annotations.Benchmark;
import org.openjdk.jmh.annotations.BenchmarkMode;
import org.openjdk.jmh.annotations.Fork;
import org.openjdk.jmh.annotations.Level;
import org.openjdk.jmh.annotations.Measurement;
import org.openjdk.jmh.annotations.Mode;
import org.openjdk.jmh.annotations.OutputTimeUnit;
import org.openjdk.jmh.annotations.Param;
import org.openjdk.jmh.annotations.Scope;
import org.openjdk.jmh.annotations.Setup;
import org.openjdk.jmh.annotations.State;
import org.openjdk.jmh.annotations.TearDown;
import org.openjdk.jmh.annotations.Warmup;
import org.panamoe.backend.Backend;
import org.panamoe.backend.Kernels;
import org.panamoe.checkpoint.Checkpoint;
import org.panamoe.checkpoint.Footprint;
import org.panamoe.checkpoint.ModelConfig;
import org.panamoe.checkpoint.TensorSpec;
import org.panamoe.engine.Engine;
import org.panamoe.engine.Generation;
import org.panamoe.engine.Request;
import org.panamoe.engine.Sampling;
import org.panamoe.model.Model;
import org.panamoe.tensor.QuantFormat;
import org.panamoe.tensor.Weight;

/**
 * One decoded token of a slice of DeepSeek-V3: its widths, one dense layer, one layer with 64 experts of which it chooses
 * 8, a vocabulary of 32768; 4.10 G parameters, 1.40 G of them read for each token. Weights are random, so routing is
 * spread out and every token reads other experts: bound by memory.
 */
@State(Scope.Benchmark)
@BenchmarkMode(Mode.Throughput)
@OutputTimeUnit(TimeUnit.SECONDS)
@Fork(value = 1, jvmArgsAppend = "--enable-native-access=ALL-UNNAMED")
@Warmup(iterations = 2, time = 2)
@Measurement(iterations = 5, time = 2)
public class DecodeBenchmark {
    private static final int CONTEXT = 1024;

    /** Of the projections; what is never FP8 in a checkpoint is BF16 in both. */
    @Param({"BF16", "F8_E4M3_B128"})
    public QuantFormat format = QuantFormat.BF16;

    /** Options of the back end. */
    @Param("")
    public String options = "";

    /** What happened in one second: columns of the result. */
    @State(Scope.Thread)
    @AuxCounters(AuxCounters.Type.OPERATIONS)
    public static class Rates {
        /** 1e9 bytes of weights, scales and latents. */
        public double GB;

        /** Of the read bandwidth that this machine showed right before the iteration; 1 is all. */
        public double ofBandwidth;
    }

    private final Arena arena = Arena.ofShared();
    private Kernels kernels;
    private Model model;
    private Engine engine;
    private Generation generation;
    private Footprint footprint;
    private float bandwidth;

    @Setup
    public void open() {
        open(slice(format == QuantFormat.F8_E4M3_B128));
    }

    final void open(ModelConfig config) {
        kernels = Backend.require("cpu", options);
        var checkpoint = Checkpoint.of(config, randomWeights(config));
        footprint = Footprint.of(checkpoint);
        model = Model.load(checkpoint, kernels);
        engine = new Engine(model, CONTEXT);
        generation = start();
    }

    /** A shared machine's limits change from second to second. */
    @Setup(Level.Iteration)
    public void measureLimits() {
        bandwidth = kernels.readBandwidth();
    }

    @Benchmark
    public int decode(Rates rates) {
        if (generation.status() != Generation.Status.RUNNING) generation = start();
        engine.step();
        double bytes = footprint.bytesPerToken(generation.generated());
        rates.GB += bytes / 1e9;
        rates.ofBandwidth += bytes / bandwidth;
        return generation.generated();
    }

    @TearDown
    public void close() {
        engine.close();
        model.close();
        arena.close();
        kernels.close();
    }

    Footprint footprint() {
        return footprint;
    }

    /** DeepSeek-V3's config.json, but for layers, experts and vocabulary. */
    static ModelConfig slice(boolean fp8) {
        return new ModelConfig(
                "deepseek_v3",
                32768, // vocab_size
                7168, // hidden_size
                2, // num_hidden_layers
                0, // num_nextn_predict_layers
                1, // first_k_dense_replace
                1, // moe_layer_freq
                18432, // intermediate_size
                2048, // moe_intermediate_size
                64, // n_routed_experts
                1, // n_shared_experts
                8, // num_experts_per_tok
                8, // n_group
                4, // topk_group
                ModelConfig.TopkMethod.NOAUX_TC,
                true, // norm_topk_prob
                2.5f, // routed_scaling_factor
                128, // num_attention_heads
                1536, // q_lora_rank
                512, // kv_lora_rank
                128, // qk_nope_head_dim
                64, // qk_rope_head_dim
                128, // v_head_dim
                1e-6f, // rms_norm_eps
                10000, // rope_theta
                null, // rope_scaling
                4096, // max_position_embeddings
                false, // tie_word_embeddings
                0, // bos_token_id
                List.of(1), // eos_token_id
                fp8 ? new ModelConfig.Fp8("") : null);
    }

    private Generation start() {
        return engine.add(new Request(new int[] {0}, CONTEXT - 1, Set.of(), Sampling.greedy(), 0));
    }

    private Map<String, Weight> randomWeights(ModelConfig config) {
        var random = new RandomWeights(1);
        var weights = new HashMap<String, Weight>();
        for (var spec : TensorSpec.of(config)) {
            int[] shape = spec.shape().stream().mapToInt(Integer::intValue).toArray();
            weights.put(spec.name(), random.weight(arena, spec.fp8() ? format : QuantFormat.BF16, shape));
        }
        return weights;
    }
}
