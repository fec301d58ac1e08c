package org.panamoe.benchmarks;

import java.lang.foreign.Arena;
import java.util.ArrayList;
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
import org.panamoe.backend.ExpertTable;
import org.panamoe.backend.Kernels;
import org.panamoe.tensor.DType;
import org.panamoe.tensor.QuantFormat;
import org.panamoe.tensor.Tensor;
import org.panamoe.tensor.Weight;

/**
 * The experts that one token of DeepSeek-V3 chooses: eight matrices of 2048 x 7168 (gate, up) or 7168 x 2048 (down),
 * each with as many rows as {@code rows} says. Bound by memory at one row, by arithmetic at 64.
 */
@State(Scope.Benchmark)
@BenchmarkMode(Mode.Throughput)
@OutputTimeUnit(TimeUnit.SECONDS)
@Fork(value = 1, jvmArgsAppend = "--enable-native-access=ALL-UNNAMED")
@Warmup(iterations = 2, time = 1)
@Measurement(iterations = 3, time = 1)
public class GroupedGemmBenchmark {
    private static final int EXPERTS = 8;

    @Param
    public QuantFormat format = QuantFormat.BF16;

    /** Rows of each expert. */
    @Param({"1", "8", "64"})
    public int rows = 1;

    /** F x D of each expert. */
    @Param({"2048x7168", "7168x2048"})
    public String expert = "2048x7168";

    /** Options of the back end. */
    @Param("")
    public String options = "";

    /** What happened in one second: columns of the result. */
    @State(Scope.Thread)
    @AuxCounters(AuxCounters.Type.OPERATIONS)
    public static class Rates {
        /** 1e9 bytes of weights, scales, x and y, each counted once. */
        public double GB;

        /** 1e9 multiplications and additions. */
        public double GFLOP;

        /** Of the read bandwidth and the FMA rate that this machine showed right before the iteration; 1 is all. */
        public double ofBandwidth;

        public double ofFmaRate;
    }

    private final Arena arena = Arena.ofShared();
    private Kernels kernels;
    float bandwidth;
    float fmaRate;
    Tensor y_NF;
    Tensor x_ND;
    ExpertTable w_E;
    Tensor offset_E1;

    @Setup
    public void open() {
        kernels = Backend.require("cpu", options);
        int F = Integer.parseInt(expert.substring(0, expert.indexOf('x')));
        int D = Integer.parseInt(expert.substring(expert.indexOf('x') + 1));
        var random = new RandomWeights(1);
        var experts = new ArrayList<Weight>();
        for (int e = 0; e < EXPERTS; e++) experts.add(random.weight(arena, format, F, D));
        w_E = new ExpertTable(kernels, arena, experts);
        int N = EXPERTS * rows;
        x_ND = kernels.allocate(arena, DType.F32, N, D);
        random.fill(x_ND);
        y_NF = kernels.allocate(arena, DType.F32, N, F);
        offset_E1 = kernels.allocate(arena, DType.I32, EXPERTS + 1);
        for (int e = 0; e <= EXPERTS; e++) offset_E1.setInt(e, e * rows);
    }

    /** A shared machine's limits change from second to second. */
    @Setup(Level.Iteration)
    public void measureLimits() {
        bandwidth = kernels.readBandwidth();
        fmaRate = kernels.fmaRate();
    }

    @Benchmark
    public void groupedGemm(Rates rates) {
        kernels.groupedGemm(y_NF, x_ND, w_E, offset_E1);
        double bytes = bytes(), flops = flops();
        rates.GB += bytes / 1e9;
        rates.GFLOP += flops / 1e9;
        rates.ofBandwidth += bytes / bandwidth;
        rates.ofFmaRate += flops / fmaRate;
    }

    @TearDown
    public void close() {
        arena.close();
        kernels.close();
    }

    double bytes() {
        return x_ND.bytes()
                + y_NF.bytes()
                + w_E.w_E.stream().mapToLong(Weight::bytes).sum();
    }

    double flops() {
        return 2.0 * x_ND.dim(0) * w_E.F() * w_E.D();
    }
}
