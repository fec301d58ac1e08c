package org.panamoe.backend;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.util.ArrayList;
import java.util.List;
import java.util.function.Consumer;
import java.util.stream.Stream;
import org.jspecify.annotations.Nullable;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.Arguments;
import org.junit.jupiter.params.provider.MethodSource;
import org.panamoe.tensor.DType;
import org.panamoe.tensor.QuantFormat;
import org.panamoe.tensor.Tensor;
import org.panamoe.tensor.Weight;

/** Wrong arguments are refused with a message that names both sides; the JVM survives, and so does the back end. */
final class RefusalTest {
    record Refusal(Class<? extends Exception> type, String message, Consumer<On> call) {
        @Override
        public String toString() {
            return message;
        }
    }

    private static final List<Refusal> REFUSALS = new ArrayList<>();
    private static final GroupLimitedTopK RULE = new GroupLimitedTopK(8, 3, 4, 2, 2, true, 1);

    private static void wrong(String message, Consumer<On> call) {
        REFUSALS.add(new Refusal(IllegalArgumentException.class, message, call));
    }

    private static void wrongIndex(String message, Consumer<On> call) {
        REFUSALS.add(new Refusal(KernelException.class, message, call));
    }

    private static void dead(String message, Consumer<On> call) {
        REFUSALS.add(new Refusal(IllegalStateException.class, message, call));
    }

    static {
        // Shapes.
        wrong(
                "gemm: x_TD is F32[2, 4], w_FD is BF16[3, 5]: D differs",
                on -> on.kernels.gemm(f32(on, 2, 3), f32(on, 2, 4), weight(on, QuantFormat.BF16, 3, 5)));
        wrong(
                "gemm: y_TF is F32[1, 3], x_TD is F32[2, 4]: T differs",
                on -> on.kernels.gemm(f32(on, 1, 3), f32(on, 2, 4), weight(on, QuantFormat.F32, 3, 4)));
        wrong(
                "gemm: y_TF is F32[2, 3], w_FD is F8_E4M3_B128[4, 4]: F differs",
                on -> on.kernels.gemm(f32(on, 2, 3), f32(on, 2, 4), weight(on, QuantFormat.F8_E4M3_B128, 4, 4)));
        wrong(
                "gemm: x_TD is F32[2, 70], w_FD is INT4[3, 69]: D differs",
                on -> on.kernels.gemm(f32(on, 2, 3), f32(on, 2, 70), weight(on, QuantFormat.INT4, 3, 69)));
        wrong(
                "a weight I8[3, 33] in INT8 cannot have scales BF16[3, 1]",
                on -> new Weight(
                        QuantFormat.INT8,
                        Tensor.allocate(on.arena, DType.I8, 3, 33),
                        Tensor.allocate(on.arena, DType.BF16, 3, 1)));
        wrong(
                "a weight I8[3, 33] in INT8 cannot have scales F32[3, 2]",
                on -> new Weight(
                        QuantFormat.INT8,
                        Tensor.allocate(on.arena, DType.I8, 3, 33),
                        Tensor.allocate(on.arena, DType.F32, 3, 2)));
        wrong(
                "a weight in INT4 of 34 columns is not U8[3, 16]",
                on -> new Weight(
                        QuantFormat.INT4,
                        Tensor.allocate(on.arena, DType.U8, 3, 16),
                        Tensor.allocate(on.arena, DType.BF16, 3, 2),
                        34));
        wrong(
                "gemm: x_TD is F32[8], which has not 2 dimensions",
                on -> on.kernels.gemm(f32(on, 2, 3), f32(on, 8), weight(on, QuantFormat.F32, 3, 4)));
        wrong(
                "gemm: x_TD is F32[2, 0]: D is 0",
                on -> on.kernels.gemm(f32(on, 2, 3), f32(on, 2, 0), weight(on, QuantFormat.F32, 3, 0)));
        wrong(
                "groupedGemm: x_ND is F32[6, 4], w_E is 2 x BF16[3, 5]: D differs",
                on -> on.kernels.groupedGemm(
                        f32(on, 6, 3), f32(on, 6, 4), experts(on, QuantFormat.BF16, 3, 5), i32(on, 0, 2, 6)));
        wrong(
                "groupedGemm: w_E is 2 x BF16[3, 4], offset_E1 is I32[2]: it takes E + 1 offsets",
                on -> on.kernels.groupedGemm(
                        f32(on, 6, 3), f32(on, 6, 4), experts(on, QuantFormat.BF16, 3, 4), i32(on, 0, 6)));
        wrong(
                "groupedSwiglu: x_TD is F32[5, 4], gate_E is 2 x BF16[3, 5]: D differs",
                on -> swiglu(on, experts(on, QuantFormat.BF16, 3, 5), experts(on, QuantFormat.BF16, 3, 5), 0, 2, 6));
        wrong(
                "groupedSwiglu: y_NF is F32[6, 3], up_E is 2 x F32[4, 4]: F differs",
                on -> swiglu(on, experts(on, QuantFormat.F32, 3, 4), experts(on, QuantFormat.F32, 4, 4), 0, 2, 6));
        wrong(
                "groupedSwiglu: gate_E is 2 x F32[3, 4], up_E is 2 x BF16[3, 4]: formats differ",
                on -> swiglu(on, experts(on, QuantFormat.F32, 3, 4), experts(on, QuantFormat.BF16, 3, 4), 0, 2, 6));
        wrong(
                "groupedSwiglu: gate_E is 2 x F32[3, 4], offset_E1 is I32[2]: it takes E + 1 offsets",
                on -> swiglu(on, experts(on, QuantFormat.F32, 3, 4), experts(on, QuantFormat.F32, 3, 4), 0, 6));
        wrong(
                "groupedSwiglu: y_NF is F32[6, 3], x_TD is F32[5, 4]: without token_N, N is T",
                on -> on.kernels.groupedSwiglu(
                        f32(on, 6, 3),
                        f32(on, 5, 4),
                        experts(on, QuantFormat.F32, 3, 4),
                        experts(on, QuantFormat.F32, 3, 4),
                        i32(on, 0, 2, 6),
                        null));
        wrong(
                "groupedCombine: y_TD is F32[5, 4], w_E is 2 x F32[3, 4]: D differs",
                on -> combine(on, experts(on, QuantFormat.F32, 3, 4), f32(on, 2), 0, 1));
        wrong(
                "groupedCombine: x_NF is F32[2, 3], weight_N is F32[3]: N differs",
                on -> combine(on, experts(on, QuantFormat.F32, 4, 3), f32(on, 3), 0, 1));
        wrong(
                "groupedCombine: token_N is I32[2], weight_N is null: both or none",
                on -> combine(on, experts(on, QuantFormat.F32, 4, 3), null, 0, 1));
        wrong(
                "groupedCombine: y_TD is F32[5, 4], x_NF is F32[2, 3]: without token_N, N is T",
                on -> on.kernels.groupedCombine(
                        f32(on, 5, 4),
                        f32(on, 2, 3),
                        experts(on, QuantFormat.F32, 4, 3),
                        i32(on, 0, 1, 2),
                        null,
                        null));
        wrong(
                "rmsNorm: y_TD is F32[2, 4], w_D is F32[3]: D differs",
                on -> on.kernels.rmsNorm(f32(on, 2, 4), f32(on, 2, 4), vector(on, 3), 1e-6f));
        wrong(
                "mlaQuery: q_THX is F32[2, 3, 9], kvB is F32[30, 6], cos_SZ is F32[8, 2]: X is not C + R",
                on -> query(on, f32(on, 2, 3, 9), f32(on, 2, 3, 8), weight(on, QuantFormat.F32, 30, 6)));
        wrong(
                "mlaQuery: kvB is F32[31, 6]: its rows are not H * (P + U) with H = 3, P = 4",
                on -> query(on, f32(on, 2, 3, 10), f32(on, 2, 3, 8), weight(on, QuantFormat.F32, 31, 6)));
        wrong(
                "mlaQuery: q_THPR is F32[2, 3, 4]: P is 0",
                on -> query(on, f32(on, 2, 3, 10), f32(on, 2, 3, 4), weight(on, QuantFormat.F32, 30, 6)));
        wrong(
                "mlaQuery: cos_SZ is F32[8, 2], sin_SZ is F32[7, 2]: S differs",
                on -> on.kernels.mlaQuery(
                        f32(on, 2, 3, 10),
                        f32(on, 2, 3, 8),
                        weight(on, QuantFormat.F32, 30, 6),
                        i32(on, 0, 1),
                        new Rope(f32(on, 8, 2), f32(on, 7, 2))));
        wrong(
                "mlaOutput: kvB is F32[6, 8]: its rows are not H * (P + U) with H = 3, U = 2",
                on -> on.kernels.mlaOutput(f32(on, 1, 3, 2), f32(on, 1, 3, 8), weight(on, QuantFormat.F32, 6, 8)));
        wrong(
                "latentAppend: pages_SBX is F32[4, 2, 10], kv_TX is F32[2, 9]: X differs",
                on -> append(on, f32(on, 2, 9), rows(on, 0, 1)));
        wrong(
                "latentAppend: kv_TX is F32[2, 10], request_T is I32[3]: T differs",
                on -> on.kernels.latentAppend(
                        pages(on),
                        f32(on, 2, 10),
                        vector(on, 6),
                        1e-6f,
                        new Rows(i32(on, 0, 1, 2, 3).as(2, 2), i32(on, 0, 0, 0), i32(on, 0, 1)),
                        rope(on)));
        wrong(
                "mlaAttention: q_THX is F32[2, 3, 9], pages_SBX is F32[4, 2, 10]: X differs",
                on -> attend(on, f32(on, 2, 3, 6), f32(on, 2, 3, 9), rows(on, 0, 1)));
        wrong(
                "mlaAttention: q_THX is F32[2, 3, 10]: R is 0",
                on -> attend(on, f32(on, 2, 3, 10), f32(on, 2, 3, 10), rows(on, 0, 1)));
        wrong(
                "mlaExpanded: o_THU is F32[2, 3, 6], q_THPR is F32[2, 4, 8]: H differs",
                on -> expand(
                        on, f32(on, 2, 3, 6), f32(on, 2, 4, 8), weight(on, QuantFormat.F32, 30, 6), rows(on, 0, 1)));
        wrong(
                "mlaExpanded: pages_SBX is F32[4, 2, 10], kvB is F32[30, 5], cos_SZ is F32[8, 2]: X is not C + R",
                on -> expand(
                        on, f32(on, 2, 3, 6), f32(on, 2, 3, 8), weight(on, QuantFormat.F32, 30, 5), rows(on, 0, 1)));
        wrong(
                "mlaExpanded: q_THPR is F32[2, 3, 4]: P is 0",
                on -> expand(
                        on, f32(on, 2, 3, 6), f32(on, 2, 3, 4), weight(on, QuantFormat.F32, 30, 6), rows(on, 0, 1)));
        wrong(
                "mlaExpanded: o_THU is F32[2, 3, 5], kvB is F32[30, 6]: U differs",
                on -> expand(
                        on, f32(on, 2, 3, 5), f32(on, 2, 3, 8), weight(on, QuantFormat.F32, 30, 6), rows(on, 0, 1)));
        wrong(
                "route: score_TE is F32[2, 8], bias_E is F32[7]: E differs",
                on -> route(on, f32(on, 2, 8), f32(on, 7), f32(on, 2, 3), i32(on, new int[9])));
        wrong(
                "route: rule is %s, share_TK is F32[2, 4]: K differs".formatted(RULE),
                on -> route(on, f32(on, 2, 8), f32(on, 8), f32(on, 2, 4), i32(on, new int[9])));
        wrong(
                "route: rule has 8 experts, offset_E1 is I32[8]: it takes E + 1 offsets",
                on -> route(on, f32(on, 2, 8), f32(on, 8), f32(on, 2, 3), i32(on, new int[8])));
        wrong(
                "9 of 8 experts, 2 of 4 groups, a group worth its 2 best: these do not fit each other",
                on -> new GroupLimitedTopK(8, 9, 4, 2, 2, true, 1));
        wrong(
                "3 of 8 experts, 2 of 8 groups, a group worth its 2 best: these do not fit each other",
                on -> new GroupLimitedTopK(8, 3, 8, 2, 2, true, 1));
        wrong(
                "gather: y_ND is F32[3, 4], token_N is I32[2]: N differs",
                on -> on.kernels.gather(f32(on, 3, 4), f32(on, 5, 4), i32(on, 0, 1)));
        wrong(
                "combine: x_ND is F32[2, 4], weight_N is F32[3]: N differs",
                on -> on.kernels.combine(f32(on, 5, 4), f32(on, 2, 4), i32(on, 0, 1), f32(on, 3)));
        wrong(
                "swiglu: y_NF is F32[2, 4], up_NF is F32[2, 5]: F differs",
                on -> on.kernels.swiglu(f32(on, 2, 4), f32(on, 2, 4), f32(on, 2, 5)));
        wrong(
                "add: y_TD is F32[2, 4], x_TD is F32[3, 4]: T differs",
                on -> on.kernels.add(f32(on, 2, 4), f32(on, 3, 4)));
        wrong(
                "embed: y_TD is F32[2, 4], w_VD is BF16[9, 5]: D differs",
                on -> on.kernels.embed(f32(on, 2, 4), weight(on, QuantFormat.BF16, 9, 5), i32(on, 0, 1)));
        wrong(
                "argmax: index_T is I32[3], x_TV is F32[2, 4]: T differs",
                on -> on.kernels.argmax(i32(on, 0, 0, 0), f32(on, 2, 4)));
        wrong("copy: to is F32[2], from is F32[3]", on -> on.kernels.copy(f32(on, 2), f32(on, 3)));
        wrong("copy: to is I32[1], from is F32[1]", on -> on.kernels.copy(i32(on, 1), f32(on, 1)));
        wrong(
                "add: y_TD is F32[2147483648, 0]: a size is beyond int",
                on -> on.kernels.add(f32(on, 1L << 31, 0), f32(on, 2, 4)));
        wrong("F32[-1] has a negative size", on -> f32(on, -1));
        wrong("F32[4611686018427387904, 4] is too large", on -> f32(on, 1L << 62, 4));

        // Types and formats.
        wrong(
                "gemm: x_TD is I32[1, 2], but F32 is needed",
                on -> on.kernels.gemm(f32(on, 1, 3), i32(on, 1, 2).as(1, 2), weight(on, QuantFormat.F32, 3, 2)));
        wrong("argmax: index_T is F32[2], but I32 is needed", on -> on.kernels.argmax(f32(on, 2), f32(on, 2, 4)));
        wrong(
                "gather: token_N is F32[2], but I32 is needed",
                on -> on.kernels.gather(f32(on, 2, 4), f32(on, 2, 4), f32(on, 2)));
        wrong(
                "rmsNorm: w_D is F8_E4M3_B128[4, 4], but F32 or BF16 is needed",
                on -> on.kernels.rmsNorm(f32(on, 4, 4), f32(on, 4, 4), weight(on, QuantFormat.F8_E4M3_B128, 4, 4), 0));

        // What indices hold.
        wrongIndex(
                "embed: token_T[1] is 9, V is 9",
                on -> on.kernels.embed(f32(on, 2, 4), weight(on, QuantFormat.BF16, 9, 4), i32(on, 0, 9)));
        wrongIndex(
                "embed: token_T[0] is -1, V is 9",
                on -> on.kernels.embed(f32(on, 2, 4), weight(on, QuantFormat.F32, 9, 4), i32(on, -1, 0)));
        wrongIndex(
                "gather: token_N[1] is 5, T is 5",
                on -> on.kernels.gather(f32(on, 2, 4), f32(on, 5, 4), i32(on, 0, 5)));
        wrongIndex(
                "combine: token_N[0] is 2147483647, T is 5",
                on -> on.kernels.combine(f32(on, 5, 4), f32(on, 2, 4), i32(on, Integer.MAX_VALUE, 0), f32(on, 2)));
        wrongIndex(
                "offset_E1[1] is 7",
                on -> on.kernels.groupedGemm(
                        f32(on, 6, 3), f32(on, 6, 4), experts(on, QuantFormat.F8_E4M3_B128, 3, 4), i32(on, 0, 7, 6)));
        wrongIndex(
                "offset_E1[0] is 1",
                on -> on.kernels.groupedGemm(
                        f32(on, 6, 3), f32(on, 6, 4), experts(on, QuantFormat.BF16, 3, 4), i32(on, 1, 2, 6)));
        wrongIndex(
                "offset_E1[2] is 5",
                on -> on.kernels.groupedGemm(
                        f32(on, 6, 3), f32(on, 6, 4), experts(on, QuantFormat.BF16, 3, 4), i32(on, 0, 2, 5)));
        // A device tells in the name of the function that these are made of.
        wrongIndex("token_N[1] is 5, T is 5", on -> combine(on, experts(on, QuantFormat.BF16, 4, 3), f32(on, 2), 0, 5));
        wrongIndex(
                "token_N[0] is -1, T is 5",
                on -> on.kernels.groupedSwiglu(
                        f32(on, 2, 3),
                        f32(on, 5, 4),
                        experts(on, QuantFormat.F8_E4M3_B128, 3, 4),
                        experts(on, QuantFormat.F8_E4M3_B128, 3, 4),
                        i32(on, 0, 1, 2),
                        i32(on, -1, 0)));
        wrongIndex(
                "offset_E1[1] is 7",
                on -> swiglu(on, experts(on, QuantFormat.F32, 3, 4), experts(on, QuantFormat.F32, 3, 4), 0, 7, 6));
        wrongIndex(
                "position_T[1] is 8, S is 8",
                on -> on.kernels.mlaQuery(
                        f32(on, 2, 3, 10),
                        f32(on, 2, 3, 8),
                        weight(on, QuantFormat.F32, 30, 6),
                        i32(on, 0, 8),
                        rope(on)));
        wrongIndex("position_T[0] is -1", on -> append(on, f32(on, 2, 10), rows(on, -1, 1)));
        wrongIndex("position_T[1] is 4", on -> append(on, f32(on, 2, 10), rows(on, 0, 4)));
        wrongIndex("position_T[1] is 4", on -> attend(on, f32(on, 2, 3, 6), f32(on, 2, 3, 10), rows(on, 0, 4)));
        wrongIndex(
                "request_T[1] is 2, A is 2",
                on -> attend(
                        on,
                        f32(on, 2, 3, 6),
                        f32(on, 2, 3, 10),
                        new Rows(i32(on, 0, 1, 2, 3).as(2, 2), i32(on, 0, 2), i32(on, 0, 1))));
        // The second request's second page is a page too far; its first row does not reach it, its second one does.
        wrongIndex(
                "table_AM[1][1] is 4, page_count is 4",
                on -> attend(
                        on,
                        f32(on, 2, 3, 6),
                        f32(on, 2, 3, 10),
                        new Rows(i32(on, 0, 1, 2, 4).as(2, 2), i32(on, 1, 1), i32(on, 1, 2))));
        wrongIndex(
                "table_AM[1][0] is -1, page_count is 4",
                on -> on.kernels.latentAppend(
                        pages(on),
                        f32(on, 2, 10),
                        vector(on, 6),
                        1e-6f,
                        new Rows(i32(on, 0, 1, -1, 3).as(2, 2), i32(on, 0, 1), i32(on, 0, 1)),
                        rope(on)));
        wrongIndex("position_T[1] is -1", on -> expand(on, rows(on, 0, -1)));
        wrongIndex("position_T[1] is 4, M * B is 4", on -> expand(on, rows(on, 0, 4)));
        wrongIndex(
                "request_T[1] is 2, A is 2",
                on -> expand(on, new Rows(i32(on, 0, 1, 2, 3).as(2, 2), i32(on, 0, 2), i32(on, 0, 1))));
        wrongIndex(
                "table_AM[1][1] is 4, page_count is 4",
                on -> expand(on, new Rows(i32(on, 0, 1, 2, 4).as(2, 2), i32(on, 1, 1), i32(on, 1, 2))));
        wrongIndex("out of memory", on -> f32(on, 1L << 48));

        // Memory.
        wrong(
                "add: x_TD is F32[1, 4] on the Java heap, which native code cannot see",
                on -> on.kernels.add(f32(on, 1, 4), new Tensor(MemorySegment.ofArray(new float[4]), DType.F32, 1, 4)));
        wrong(
                "add: y_TD is F32[1, 4] in read-only memory",
                on -> on.kernels.add(new Tensor(f32(on, 1, 4).data.asReadOnly(), DType.F32, 1, 4), f32(on, 1, 4)));
        wrong(
                "copy: to is F32[4] in read-only memory",
                on -> on.kernels.copy(new Tensor(f32(on, 4).data.asReadOnly(), DType.F32, 4), f32(on, 4)));
        wrong(
                "add: x_TD is F32[1, 4] at an address that is no multiple of 4",
                on -> on.kernels.add(
                        f32(on, 1, 4), new Tensor(on.arena.allocate(32, 64).asSlice(1, 16), DType.F32, 1, 4)));
        wrong("add: x_TD is F32[2, 4] and overlaps y_TD", on -> {
            var memory = f32(on, 3, 4);
            on.kernels.add(memory.rows(0, 2), memory.rows(1, 3));
        });
        wrong("rmsNorm: x_TD is F32[2, 4] and overlaps y_TD", on -> {
            var memory = f32(on, 3, 4);
            on.kernels.rmsNorm(memory.rows(0, 2), memory.rows(1, 3), vector(on, 4), 1e-6f);
        });
        wrong("gemm: w_FD is F32[2, 2] and overlaps y_TF", on -> {
            var memory = f32(on, 2, 2);
            on.kernels.gemm(memory, f32(on, 2, 2), Weight.of(memory));
        });
        wrong("groupedCombine: x_NF is F32[2, 2] and overlaps y_TD", on -> {
            var memory = f32(on, 3, 2);
            on.kernels.groupedCombine(
                    memory.rows(0, 2),
                    memory.rows(1, 3),
                    experts(on, QuantFormat.F32, 2, 2),
                    i32(on, 0, 1, 2),
                    null,
                    null);
        });
        wrong("groupedSwiglu: x_TD is F32[2, 2] and overlaps y_NF", on -> {
            var memory = f32(on, 2, 2);
            var experts = experts(on, QuantFormat.F32, 2, 2);
            on.kernels.groupedSwiglu(memory, memory, experts, experts, i32(on, 0, 1, 2), null);
        });
        wrong("copy: to and from overlap", on -> {
            var memory = f32(on, 3, 4);
            on.kernels.copy(memory.rows(0, 2), memory.rows(1, 3));
        });
        dead("add: x_TD is F32[1, 4], whose memory is closed", on -> {
            Tensor gone;
            try (var arena = Arena.ofConfined()) {
                gone = on.kernels.allocate(arena, DType.F32, 1, 4);
            }
            on.kernels.add(f32(on, 1, 4), gone);
        });
        dead("Already closed", on -> {
            var arena = Arena.ofConfined();
            arena.close();
            on.kernels.allocate(arena, DType.F32, 1, 4);
        });
        dead("groupedGemm: w_E is 2 x F32[3, 4], whose memory is closed", on -> {
            ExpertTable experts;
            try (var checkpoint = Arena.ofConfined()) {
                experts = on.in(new Given(checkpoint, 1).weights(QuantFormat.F32, 2, 3, 4), checkpoint);
            }
            on.kernels.groupedGemm(f32(on, 6, 3), f32(on, 6, 4), experts, i32(on, 0, 2, 6));
        });
    }

    static Stream<Arguments> refusals() {
        return Variant.all().stream()
                .filter(variant -> !variant.options().contains("threads=1"))
                .flatMap(variant -> REFUSALS.stream().map(refusal -> Arguments.of(variant, refusal)));
    }

    @ParameterizedTest
    @MethodSource("refusals")
    void refuses(Variant variant, Refusal refusal) {
        try (var on = new On(variant.open())) {
            assertThatThrownBy(() -> {
                        refusal.call.accept(on);
                        on.kernels.synchronize(); // a device tells now what its kernels found in index arrays
                    })
                    .isExactlyInstanceOf(refusal.type)
                    .hasMessageContaining(refusal.message);
            // And works on.
            var y_TD = on.in(Tensor.of(on.arena, 1f, 2f).as(1, 2));
            on.kernels.add(y_TD, on.in(Tensor.of(on.arena, 3f, 4f).as(1, 2)));
            assertThat(on.floats(y_TD)).containsExactly(4, 6);
        }
    }

    /** Java sees which memory a tensor lies in, so nothing is ever read where a back end does not compute. */
    @ParameterizedTest
    @MethodSource("variants")
    void memoryOfAnotherPlace(Variant variant) {
        try (var on = new On(variant.open())) {
            var here = f32(on, 3, 4);
            boolean device = here.onDevice();
            var elsewhere = device
                    ? Tensor.allocate(on.arena, DType.F32, 3, 4)
                    : new Tensor(MemorySegment.ofAddress(64), DType.F32, 3, 4);
            var places = device
                    ? " in the memory of the host, this back end computes in that of a device"
                    : " in the memory of a device, this back end computes in that of the host";
            assertThatThrownBy(() -> on.kernels.add(here, elsewhere))
                    .isInstanceOf(IllegalArgumentException.class)
                    .hasMessage("add: x_TD is F32[3, 4]" + places);
            assertThatThrownBy(() -> new ExpertTable(on.kernels, on.arena, List.of(Weight.of(elsewhere))))
                    .isInstanceOf(IllegalArgumentException.class)
                    .hasMessage("an expert is F32[3, 4]" + places);
            assertThatThrownBy(() -> new ExpertTable(
                            on.kernels,
                            on.arena,
                            List.of(Weight.of(new Tensor(MemorySegment.ofArray(new float[12]), DType.F32, 3, 4)))))
                    .isInstanceOf(IllegalArgumentException.class)
                    .hasMessage("an expert is F32[3, 4] on the Java heap, which native code cannot see");
        }
    }

    /** Another thread's arena is another thread's affair. */
    @ParameterizedTest
    @MethodSource("variants")
    void memoryOfAnotherThread(Variant variant) throws InterruptedException {
        try (var on = new On(variant.open())) {
            var failure = new Throwable[1];
            var thread = Thread.ofPlatform().start(() -> {
                try {
                    f32(on, 1, 4); // in an arena that is confined to the test's thread
                } catch (WrongThreadException e) {
                    failure[0] = e;
                }
            });
            thread.join();
            assertThat(failure[0]).isInstanceOf(WrongThreadException.class);
            assertThat(on.kernels.allocated()).isZero();
        }
    }

    static List<Variant> variants() {
        return Variant.all();
    }

    private static Tensor f32(On on, long... shape) {
        return on.kernels.allocate(on.arena, DType.F32, shape);
    }

    private static Tensor i32(On on, int... values) {
        return on.in(Tensor.of(on.arena, values));
    }

    private static Weight weight(On on, QuantFormat format, long F, long D) {
        return on.in(new Given(on.arena, 1).weight(format, F, D));
    }

    private static Weight vector(On on, long D) {
        return on.in(new Given(on.arena, 1).weight(QuantFormat.F32, D));
    }

    private static ExpertTable experts(On on, QuantFormat format, long F, long D) {
        return on.in(new Given(on.arena, 1).weights(format, 2, F, D));
    }

    /** 8 positions, R = 4. */
    private static Rope rope(On on) {
        return on.in(new Given(on.arena, 1).rope(8, 4));
    }

    /** 4 pages of 2 positions, C = 6, R = 4. */
    private static LatentPages pages(On on) {
        return new LatentPages(f32(on, 4, 2, 10));
    }

    /** Two rows of the first of two requests, which have two pages each. */
    private static Rows rows(On on, int position0, int position1) {
        return new Rows(i32(on, 0, 1, 2, 3).as(2, 2), i32(on, 0, 0), i32(on, position0, position1));
    }

    private static void route(On on, Tensor score_TE, Tensor bias_E, Tensor share_TK, Tensor offset_E1) {
        var routes = new Routes(i32(on, new int[6]).as(2, 3), share_TK, offset_E1, i32(on, new int[6]), f32(on, 6));
        on.kernels.route(routes, score_TE, bias_E, RULE);
    }

    /** Six rows of five tokens. */
    private static void swiglu(On on, ExpertTable gate_E, ExpertTable up_E, int... offset_E1) {
        on.kernels.groupedSwiglu(
                f32(on, 6, 3), f32(on, 5, 4), gate_E, up_E, i32(on, offset_E1), i32(on, 0, 1, 2, 3, 4, 4));
    }

    /** Two rows of five tokens, one for each expert. */
    private static void combine(On on, ExpertTable w_E, @Nullable Tensor weight_N, int... token_N) {
        on.kernels.groupedCombine(f32(on, 5, 4), f32(on, 2, 3), w_E, i32(on, 0, 1, 2), i32(on, token_N), weight_N);
    }

    private static void query(On on, Tensor q_THX, Tensor q_THPR, Weight kvB) {
        on.kernels.mlaQuery(q_THX, q_THPR, kvB, i32(on, 0, 1), rope(on));
    }

    private static void append(On on, Tensor kv_TX, Rows rows) {
        on.kernels.latentAppend(pages(on), kv_TX, vector(on, 6), 1e-6f, rows, rope(on));
    }

    private static void expand(On on, Tensor o_THU, Tensor q_THPR, Weight kvB, Rows rows) {
        on.kernels.mlaExpanded(o_THU, q_THPR, pages(on), kvB, rows, rope(on), 1);
    }

    /** Right but for the rows. */
    private static void expand(On on, Rows rows) {
        expand(on, f32(on, 2, 3, 6), f32(on, 2, 3, 8), weight(on, QuantFormat.F32, 30, 6), rows);
    }

    private static void attend(On on, Tensor o_THC, Tensor q_THX, Rows rows) {
        on.kernels.mlaAttention(o_THC, q_THX, pages(on), rows, 1);
    }
}
