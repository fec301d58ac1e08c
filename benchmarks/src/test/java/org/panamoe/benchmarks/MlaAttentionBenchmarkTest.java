package org.panamoe.benchmarks;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.data.Offset.offset;

import java.lang.foreign.Arena;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.panamoe.backend.Backend;
import org.panamoe.backend.LatentPages;
import org.panamoe.backend.Rows;
import org.panamoe.tensor.DType;
import org.panamoe.tensor.Tensor;

class MlaAttentionBenchmarkTest {
    private static final int HEADS = 3, DEPTH = 130, BATCH = 2, C = 512, X = 576;

    /** Softmax and sums in double, over the positions in the order of the requests and not of the pages. */
    @ParameterizedTest
    @CsvSource({"cpu, F32", "cudaemu, F32", "cudaemu, BF16"})
    void whatIsMeasuredIsAttention(String backend, DType cache) {
        var benchmark = benchmark(Host.present(backend), cache);
        try (var reference = Backend.require("reference");
                var arena = Arena.ofConfined()) {
            benchmark.mlaAttention(new Rates());
            var host = new Host(benchmark.kernels, arena);
            var rows = new Rows(
                    host.tensor(benchmark.rows.table_AM()),
                    host.tensor(benchmark.rows.request_T()),
                    host.tensor(benchmark.rows.position_T()));
            var expected_THC = Tensor.allocate(arena, DType.F32, BATCH, HEADS, C);
            reference.mlaAttention(
                    expected_THC,
                    host.tensor(benchmark.q_THX),
                    new LatentPages(host.tensor(benchmark.pages.pages_SBX())),
                    rows,
                    MlaAttentionBenchmark.SCALE);
            float[] o_THC = host.floats(benchmark.o_THC);
            for (int i = 0; i < o_THC.length; i++)
                // Values are means of numbers between -2 and 2, sums over 576 in fp32: rounding stays below 1e-5.
                assertThat(o_THC[i]).as("value %d", i).isCloseTo(expected_THC.getFloat(i), offset(1e-5f));
            // A token sees all of its request, the last row too, and of no other one.
            assertThat(host.ints(rows.position_T())).containsOnly(DEPTH - 1);
            assertThat(host.ints(rows.table_AM())).containsExactly(0, 2, 4, 1, 3, 5);
        } finally {
            benchmark.close();
        }
    }

    @Test
    void ratesCountEveryLatentOnceForAllHeads() {
        var benchmark = benchmark("cpu", DType.F32);
        try {
            benchmark.measureLimits();
            var rates = new Rates();
            benchmark.mlaAttention(rates);
            long latents = BATCH * DEPTH * X, queries = BATCH * HEADS * X, results = BATCH * HEADS * C;
            assertThat(rates.GB * 1e9).isCloseTo(4.0 * (latents + queries + results), offset(1e-3));
            assertThat(rates.GFLOP * 1e9).isCloseTo(2.0 * BATCH * HEADS * DEPTH * (X + C), offset(1e-3));
            assertThat(rates.ofBandwidth / rates.GB).isCloseTo(1e9 / benchmark.bandwidth, offset(1e-6));
            assertThat(rates.ofFmaRate / rates.GFLOP).isCloseTo(1e9 / benchmark.fmaRate, offset(1e-6));
        } finally {
            benchmark.close();
        }
    }

    private static MlaAttentionBenchmark benchmark(String backend, DType cache) {
        var benchmark = new MlaAttentionBenchmark();
        benchmark.backend = backend;
        benchmark.cache = cache;
        benchmark.heads = HEADS;
        benchmark.depth = DEPTH;
        benchmark.batch = BATCH;
        benchmark.open();
        return benchmark;
    }
}
