package org.panamoe.benchmarks;

import java.util.regex.Pattern;
import org.jspecify.annotations.Nullable;
import org.openjdk.jmh.annotations.Benchmark;
import org.openjdk.jmh.annotations.Fork;
import org.openjdk.jmh.annotations.Param;
import org.openjdk.jmh.annotations.TearDown;
import org.panamoe.bench.Shape;
import org.panamoe.bench.kernel.Call;
import org.panamoe.bench.kernel.Gemm;
import org.panamoe.bench.kernel.Inputs;
import org.panamoe.tensor.QuantFormat;

/**
 * The product of {@link GemmBenchmark} as others make it, from F32 weights, which are the only ones that they all take:
 * compare them with format=F32, and in time per call with the formats that read less. They have as many threads as the back
 * end, whose limits they are held against; the reference has one.
 */
@Fork(
        value = 1,
        jvmArgsAppend = {"--enable-native-access=ALL-UNNAMED", "--add-modules=jdk.incubator.vector"})
public class GemmBaselineBenchmark extends KernelBenchmark {
    private static final Pattern THREADS = Pattern.compile("threads=(\\d+)");

    @Param
    public Baseline baseline = Baseline.REFERENCE;

    @Param("V3")
    public Shape shape = Shape.V3;

    @Param(GemmBenchmark.DEFAULT_MATRIX)
    public String matrix = GemmBenchmark.DEFAULT_MATRIX;

    @Param({"1", "64"})
    public int rows = 1;

    private Baseline.@Nullable Gemm gemm;

    @Override
    Gemm work() {
        return Gemm.of(shape, matrix, QuantFormat.F32, rows);
    }

    @Override
    Call prepare(Inputs inputs) {
        if (kernels.onDevice()) throw new IllegalArgumentException("baselines multiply on the host, not on " + backend);
        var threads = THREADS.matcher(kernels.describe());
        var gemm = baseline.open(threads.find() ? Integer.parseInt(threads.group(1)) : 1);
        this.gemm = gemm;
        System.out.printf("%n# Baseline: %s%n", gemm.describe());
        return work().prepare(inputs, (y_TF, x_TD, w_FD) -> gemm.gemm(y_TF, x_TD, w_FD.data()));
    }

    @Benchmark
    public void gemm(Rates rates) {
        measure(rates);
    }

    @TearDown
    public void closeBaseline() {
        if (gemm != null) gemm.close();
    }
}
