package org.panamoe.benchmarks;

import org.openjdk.jmh.annotations.Benchmark;
import org.panamoe.bench.kernel.KernelWork;
import org.panamoe.bench.kernel.Score;

/**
 * Scores of what the gate says: the sigmoid of DeepSeek-V3 and Kimi K2, the softmax of V2-Lite. Bound by the
 * exponential.
 */
public class ScoreBenchmark extends ActivationBenchmark {
    @Override
    KernelWork work() {
        return Score.of(shape, rows);
    }

    @Benchmark
    public void score(Rates rates) {
        measure(rates);
    }
}
