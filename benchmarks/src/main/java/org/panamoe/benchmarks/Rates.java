package org.panamoe.benchmarks;

import org.openjdk.jmh.annotations.AuxCounters;
import org.openjdk.jmh.annotations.Scope;
import org.openjdk.jmh.annotations.State;

/** What a kernel did in one second, of the host's clock unless it says otherwise: columns of the result. */
@State(Scope.Thread)
@AuxCounters(AuxCounters.Type.OPERATIONS)
public class Rates {
    /** 1e9 bytes of what the call must read and write, each counted once. */
    public double GB;

    /** 1e9 multiplications and additions, of floats or, with weights in an integer format, of bytes. */
    public double GFLOP;

    /**
     * Of the read bandwidth and the FMA rate that this machine showed right before the iteration; 1 is all. ofFmaRate is 0
     * where the products are of bytes.
     */
    public double ofBandwidth;

    public double ofFmaRate;

    /** Of the rate of products of bytes; 0 where the kernel multiplies floats. */
    public double ofInt8Rate;

    /** By the device's own clock, for the call alone; 0 where there is no device. */
    public double deviceSeconds;
}
