package org.panamoe.backend;

import static org.panamoe.backend.Close.assertClose;
import static org.panamoe.backend.Close.assertSame;
import static org.panamoe.backend.Close.fp32;

import java.lang.foreign.MemorySegment;
import java.util.List;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;
import org.panamoe.tensor.DType;
import org.panamoe.tensor.QuantFormat;
import org.panamoe.tensor.Tensor;
import org.panamoe.tensor.Weight;

/** The reference and the fast ones against Hugging Face's modules and torch's e4m3. */
final class GoldenUnitsTest {
    /** A block matrix with ragged edges, times the unit matrix: each weight as it is decoded. */
    @ParameterizedTest
    @MethodSource("variants")
    void fp8Blocks(Variant variant) {
        int F = 160, D = 200;
        try (var on = new On(variant.open())) {
            var unit_DD = Tensor.allocate(on.arena, DType.F32, D, D);
            for (int d = 0; d < D; d++) unit_DD.setFloat((long) d * D + d, 1);
            var y_DF = on.out(D, F);
            on.kernels.gemm(y_DF, on.in(unit_DD), on.in(fp8(on, F, D, "fp8.block_code", "fp8.block_scale_inv")));
            float[] expected_FD = GoldenUnits.floats("fp8.block_out"), expected_DF = new float[D * F];
            // Sums of one weight and zeros are exact; the sign of a zero does not outlive them.
            for (int f = 0; f < F; f++)
                for (int d = 0; d < D; d++) expected_DF[d * F + f] = expected_FD[f * D + d] + 0.0f;
            assertSame(variant, expected_DF, on.floats(y_DF));
        }
    }

    @ParameterizedTest
    @MethodSource("variants")
    void fp8Product(Variant variant) {
        int T = 8, D = 256, F = 160;
        try (var on = new On(variant.open())) {
            var x_TD = Tensor.of(on.arena, GoldenUnits.floats("fp8.act_in")).as(T, D);
            var y_TF = on.out(T, F);
            on.kernels.gemm(
                    y_TF, on.in(x_TD), on.in(fp8(on, F, D, "fp8.gemm.weight_code", "fp8.gemm.weight_scale_inv")));
            assertClose(variant, GoldenUnits.floats("fp8.gemm.y_w8a32"), on.floats(y_TF), F, fp32(D), 0);
        }
    }

    @ParameterizedTest
    @MethodSource("variants")
    void rmsNorm(Variant variant) {
        int T = 4, D = 512;
        try (var on = new On(variant.open())) {
            var x_TD = Tensor.of(on.arena, GoldenUnits.floats("rms.x")).as(T, D);
            var w_D = Weight.of(Tensor.of(on.arena, GoldenUnits.floats("rms.weight")));
            var y_TD = on.out(T, D);
            on.kernels.rmsNorm(y_TD, on.in(x_TD), on.in(w_D), 1e-6f);
            assertClose(variant, GoldenUnits.floats("rms.y"), on.floats(y_TD), D, fp32(D), 0);
        }
    }

    @ParameterizedTest
    @MethodSource("variants")
    void swiglu(Variant variant) {
        int N = 4, F = 512;
        try (var on = new On(variant.open())) {
            var gate_NF = Tensor.of(on.arena, GoldenUnits.floats("swiglu.gate")).as(N, F);
            var up_NF = Tensor.of(on.arena, GoldenUnits.floats("swiglu.up")).as(N, F);
            var y_NF = on.out(N, F);
            on.kernels.swiglu(y_NF, on.in(gate_NF), on.in(up_NF));
            assertClose(variant, GoldenUnits.floats("swiglu.y"), on.floats(y_NF), F, 1e-5, 0);
        }
    }

    private static Weight fp8(On on, int F, int D, String codes, String scale) {
        var data = on.arena.allocate((long) F * D).copyFrom(MemorySegment.ofArray(GoldenUnits.codes(codes)));
        var scales = Tensor.of(on.arena, GoldenUnits.floats(scale)).as(Math.ceilDiv(F, 128), Math.ceilDiv(D, 128));
        return new Weight(QuantFormat.F8_E4M3_B128, new Tensor(data, DType.F8_E4M3, F, D), scales);
    }

    static List<Variant> variants() {
        return Variant.all();
    }
}
