package org.panamoe.benchmarks;

import java.io.IOException;
import java.lang.foreign.Arena;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.SplittableRandom;
import java.util.concurrent.TimeUnit;
import org.openjdk.jmh.annotations.AuxCounters;
import org.openjdk.jmh.annotations.Benchmark;
import org.openjdk.jmh.annotations.BenchmarkMode;
import org.openjdk.jmh.annotations.Fork;
import org.openjdk.jmh.annotations.Measurement;
import org.openjdk.jmh.annotations.Mode;
import org.openjdk.jmh.annotations.OutputTimeUnit;
import org.openjdk.jmh.annotations.Param;
import org.openjdk.jmh.annotations.Scope;
import org.openjdk.jmh.annotations.Setup;
import org.openjdk.jmh.annotations.State;
import org.openjdk.jmh.annotations.TearDown;
import org.openjdk.jmh.annotations.Warmup;
import org.panamoe.checkpoint.SafetensorsWriter;
import org.panamoe.lab.routing.Comparison;
import org.panamoe.lab.routing.Input;
import org.panamoe.lab.routing.LiveLoads;
import org.panamoe.lab.routing.MethodSpec;
import org.panamoe.lab.routing.Outcome;
import org.panamoe.lab.routing.Replay;
import org.panamoe.lab.routing.SyntheticTrace;
import org.panamoe.lab.routing.Trace;
import org.panamoe.tensor.DType;
import org.panamoe.tensor.Tensor;

/**
 * How many tokens of a layer the lab plays in a second, with DeepSeek-V3's shape, 8 of 256 experts in 8 groups: choices that
 * were recorded, from a mapped file, checked and measured; and scores that are made up on the way, by far the slower.
 */
@State(Scope.Benchmark)
@BenchmarkMode(Mode.Throughput)
@OutputTimeUnit(TimeUnit.SECONDS)
@Fork(value = 1, jvmArgsAppend = "--enable-native-access=ALL-UNNAMED")
@Warmup(iterations = 3, time = 2)
@Measurement(iterations = 5, time = 2)
public class RoutingReplayBenchmark {
    static final int E = 256, K = 8, GROUPS = 8, KEPT = 4, LAYERS = 4;
    private static final int BATCH = 4096;
    private static final MethodSpec RECORDED = MethodSpec.parse("as-recorded");
    private static final MethodSpec SIGN = MethodSpec.parse("sign:rate=0.001");

    @Param({"1", "2"})
    public int threads = 1;

    /** What happened in one second: columns of the result. */
    @State(Scope.Thread)
    @AuxCounters(AuxCounters.Type.OPERATIONS)
    public static class Rates {
        /** 1e6 tokens, each in each of the layers. */
        public double millionTokenLayers;
    }

    private Path file = Path.of("");
    private Trace recorded = SyntheticTrace.parse("synthetic");
    private Trace synthetic = recorded;
    private final LiveLoads live = new LiveLoads(E, 1000);
    private final int[] step_K = {3, 40, 77, 130, 131, 180, 222, 255};

    @Setup
    public void open() throws IOException {
        open(1 << 17, 1 << 13);
    }

    final void open(int recordedTokens, int syntheticTokens) throws IOException {
        file = Files.createTempFile("panamoe", ".safetensors");
        write(recordedTokens);
        recorded = Input.of(file.toString()).open(Input.Sizes.UNKNOWN);
        synthetic = SyntheticTrace.parse("synthetic:experts=%d,chosen=%d,groups=%d,kept=%d,layers=%d,tokens=%d"
                .formatted(E, K, GROUPS, KEPT, LAYERS, syntheticTokens));
    }

    /** Random choices; a few tokens' worth of them again and again would be predicted. */
    private void write(int T) throws IOException {
        var random = new SplittableRandom(1);
        try (var arena = Arena.ofConfined()) {
            var tensors = new LinkedHashMap<String, Tensor>();
            for (int layer = 0; layer < LAYERS; layer++) {
                var index_TK = Tensor.allocate(arena, DType.I32, T, K);
                for (long i = 0; i < (long) T * K; i++)
                    index_TK.setInt(i, (int) (i % K) * (E / K) + random.nextInt(E / K));
                tensors.put("topk_idx." + layer, index_TK);
                tensors.put("topk_weight." + layer, Tensor.allocate(arena, DType.F32, T, K));
                tensors.put("bias." + layer, Tensor.of(arena, new float[E]));
            }
            var metadata = Map.of("K", "" + K, "n_group", "" + GROUPS, "topk_group", "" + GROUPS);
            SafetensorsWriter.write(file, tensors, metadata);
        }
    }

    @Benchmark
    public Outcome recorded(Rates rates) {
        return play(recorded, RECORDED, rates);
    }

    /** Scores are made up, chosen from by the sign rule, and once more without a bias, to compare. */
    @Benchmark
    public Outcome synthetic(Rates rates) {
        return play(synthetic, SIGN, rates);
    }

    private Outcome play(Trace trace, MethodSpec method, Rates rates) {
        var outcome = new Replay(trace, Comparison.geometry(trace, 0, 0), BATCH, BATCH, 1, 0).run(method, 0, threads);
        rates.millionTokenLayers += outcome.layers().values().stream()
                        .mapToLong(layer -> layer.tokens)
                        .sum()
                / 1e6;
        return outcome;
    }

    /** What looking on costs a step that decodes one token, in all 58 layers of DeepSeek-V3. */
    @Benchmark
    public long liveHook() {
        for (int layer = 3; layer < 61; layer++) live.routed(layer, 1, new float[0], step_K, new float[0]);
        return live.tokens(3);
    }

    @TearDown
    public void close() throws IOException {
        recorded.close();
        synthetic.close();
        Files.deleteIfExists(file);
    }
}
