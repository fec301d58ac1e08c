package org.panamoe.benchmarks;

import java.lang.foreign.Arena;
import java.util.concurrent.TimeUnit;
import org.jspecify.annotations.Nullable;
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
import org.panamoe.bench.kernel.Caches;
import org.panamoe.bench.kernel.Call;
import org.panamoe.bench.kernel.Inputs;
import org.panamoe.bench.kernel.KernelWork;
import org.panamoe.jcuda.CudaStream;
import org.panamoe.jcuda.EventTimer;
import org.panamoe.tensor.DType;
import org.panamoe.tensor.Tensor;

/**
 * One kernel on one back end. The time of a call is the host's, until the result is there: on a device it includes the
 * launch and the wait. The cuda back end runs on a stream of JCuda's, in JCuda's memory, with events around each call:
 * the device's time is {@code deviceSeconds} by the score.
 */
@SuppressWarnings("NullAway.Init") // open sets them
@State(Scope.Benchmark)
@BenchmarkMode(Mode.Throughput)
@OutputTimeUnit(TimeUnit.SECONDS)
@Fork(value = 1, jvmArgsAppend = "--enable-native-access=ALL-UNNAMED")
@Warmup(iterations = 2, time = 1)
@Measurement(iterations = 3, time = 1)
public abstract class KernelBenchmark {
    /** Bytes that pass through a device's cache before every call: several times what it holds. */
    private static final long FLUSHED = 256L << 20;

    @Param("cpu")
    public String backend = "cpu";

    /** Options of the back end. */
    @Param("")
    public String options = "";

    /** Of weights and latents; a device's are always cold. */
    @Param("COLD")
    public Caches caches = Caches.COLD;

    final Arena arena = Arena.ofShared();
    Kernels kernels;
    float bandwidth;
    float fmaRate;
    float int8Rate;
    KernelWork work;
    Call call;
    private @Nullable Tensor flushed;
    private @Nullable CudaStream stream;
    private @Nullable EventTimer timer;

    @Setup
    public final void open() {
        if (backend.equals("cuda")) {
            stream = CudaStream.open(0);
            timer = stream.timer();
            kernels = stream.kernels(options);
        } else {
            kernels = Backend.require(backend, options);
        }
        Inputs.Memory memory = stream == null ? kernels::allocate : stream::allocate;
        if (kernels.onDevice()) flushed = memory.allocate(arena, DType.F32, 2, FLUSHED / 2 / Float.BYTES);
        work = work();
        call = prepare(new Inputs(kernels, memory, arena, 1, caches));
    }

    /** A shared machine's limits change from second to second. Only those are measured that a share is counted of. */
    @Setup(Level.Iteration)
    public final void measureLimits() {
        bandwidth = kernels.readBandwidth();
        if (work.integer()) int8Rate = kernels.int8Rate();
        else if (work.flops() > 0) fmaRate = kernels.fmaRate();
    }

    /** A model reads gigabytes between two calls of a kernel: none finds its inputs in a device's cache. */
    @Setup(Level.Invocation)
    public final void flushCache() {
        if (flushed == null) return;
        kernels.copy(flushed.rows(0, 1), flushed.rows(1, 2));
        kernels.synchronize();
    }

    @TearDown
    public final void close() {
        arena.close();
        kernels.close();
        if (timer != null) timer.close();
        if (stream != null) stream.close();
    }

    /** What is measured. */
    abstract KernelWork work();

    /** By whom: the back end, unless it is said otherwise. */
    Call prepare(Inputs inputs) {
        return work.prepare(kernels, inputs);
    }

    final void measure(Rates rates) {
        rates.beforeCall();
        if (timer != null) timer.start();
        call.launch();
        if (timer != null) timer.stop();
        kernels.synchronize();
        if (timer != null) rates.deviceSeconds += timer.seconds();
        double bytes = work.bytes(), flops = work.flops();
        rates.GB += bytes / 1e9;
        rates.GFLOP += flops / 1e9;
        rates.ofBandwidth += bytes / bandwidth;
        if (work.integer()) rates.ofInt8Rate += flops / int8Rate;
        else if (flops > 0) rates.ofFmaRate += flops / fmaRate;
    }
}
