package org.panamoe.benchmarks;

import org.openjdk.jmh.annotations.AuxCounters;
import org.openjdk.jmh.annotations.Level;
import org.openjdk.jmh.annotations.Scope;
import org.openjdk.jmh.annotations.Setup;
import org.openjdk.jmh.annotations.State;
import org.openjdk.jmh.annotations.TearDown;
import org.panamoe.bench.CpuClock;

/** What was done in one second, of the host's clock unless it says otherwise: columns of the result. */
@State(Scope.Thread)
@AuxCounters(AuxCounters.Type.OPERATIONS)
public class Rates {
    /** 1e9 bytes of what the call must read and write, each counted once. */
    public double GB;

    /** 1e9 multiplications and additions, of floats or, with weights in an integer format, of bytes. */
    public double GFLOP;

    /**
     * Of the read bandwidth and the FMA rate that this machine showed right before the iteration; 1 is all. ofFmaRate is 0
     * where the products are of bytes, and where nothing is held against it.
     */
    public double ofBandwidth;

    public double ofFmaRate;

    /** Of the rate of products of bytes; 0 where the kernel multiplies floats. */
    public double ofInt8Rate;

    /** By the device's own clock, for the call alone; 0 where there is no device. */
    public double deviceSeconds;

    /** CPU time of all threads, from the first call to the last: how many processors were busy. */
    public double cpuSeconds;

    private double cpuBefore = Double.NaN;

    @Setup(Level.Iteration)
    public void beginIteration() {
        cpuBefore = Double.NaN;
    }

    /** To be told before each call; what was done to prepare the iteration does not count. */
    void beforeCall() {
        if (Double.isNaN(cpuBefore)) cpuBefore = CpuClock.seconds();
    }

    @TearDown(Level.Iteration)
    public void endIteration() {
        cpuSeconds = CpuClock.seconds() - cpuBefore;
    }
}
