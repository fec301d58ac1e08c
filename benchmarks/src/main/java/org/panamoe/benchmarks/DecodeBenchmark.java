package org.panamoe.benchmarks;

import java.lang.foreign.Arena;
import java.util.Set;
import java.util.concurrent.TimeUnit;
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
import org.panamoe.bench.RandomWeights;
import org.panamoe.bench.Shape;
import org.panamoe.bench.Slice;
import org.panamoe.bench.Work;
import org.panamoe.checkpoint.Footprint;
import org.panamoe.checkpoint.ModelConfig;
import org.panamoe.engine.Engine;
import org.panamoe.engine.Generation;
import org.panamoe.engine.Request;
import org.panamoe.engine.Sampling;
import org.panamoe.model.Model;
import org.panamoe.tensor.QuantFormat;

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

    private final Arena arena = Arena.ofShared();
    private Kernels kernels;
    private Model model;
    private Engine engine;
    private Generation generation;
    private Footprint footprint;
    private float bandwidth;

    @Setup
    public void open() {
        open(slice(format));
    }

    final void open(ModelConfig config) {
        kernels = Backend.require("cpu", options);
        var checkpoint = new RandomWeights(1).checkpoint(arena, config, format);
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
        rates.beforeCall();
        if (generation.status() != Generation.Status.RUNNING) generation = start();
        engine.step();
        double bytes = footprint.bytesPerToken(generation.generated());
        rates.GB += bytes / 1e9;
        rates.GFLOP += new Work.Decode(1, generation.generated() - 1).flops(model.config(), footprint) / 1e9;
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

    static ModelConfig slice(QuantFormat format) {
        return new Slice(Shape.V3, 2, 1, 64, Shape.V3.vocab(), format).config();
    }

    private Generation start() {
        return engine.add(new Request(new int[] {0}, CONTEXT - 1, Set.of(), Sampling.greedy(), 0));
    }
}
