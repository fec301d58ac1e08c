package org.panamoe.benchmarks;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.data.Offset.offset;

import org.junit.jupiter.api.Test;

class CallOverheadBenchmarkTest {
    @Test
    void everyWayReachesTheSameFunction() throws Throwable {
        var benchmark = new CallOverheadBenchmark();
        try {
            int abi = benchmark.panama();
            assertThat(abi).isPositive();
            assertThat(new int[] {benchmark.panamaCritical(), benchmark.panamaField(), benchmark.jni()})
                    .containsOnly(abi);
        } finally {
            benchmark.close();
        }
    }

    @Test
    void theSmallestKernelComputes() {
        var benchmark = new CallOverheadBenchmark();
        try {
            benchmark.rmsNorm();
            // x / sqrt(x * x + eps) * w with x = -3, w = 2, and eps below what a float of this size can show.
            assertThat(benchmark.y_TD.getFloat(0)).isCloseTo(-2f, offset(1e-6f));
        } finally {
            benchmark.close();
        }
    }
}
