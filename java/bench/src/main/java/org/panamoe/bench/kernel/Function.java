package org.panamoe.bench.kernel;

import java.util.Arrays;
import java.util.List;
import java.util.Locale;
import java.util.stream.Collectors;
import java.util.stream.Stream;
import org.panamoe.bench.Shape;
import org.panamoe.tensor.DType;
import org.panamoe.tensor.QuantFormat;

/** The functions of panamoe.h that compute, in its order, and which of their calls are worth a look. */
public enum Function {
    RMS_NORM,
    /** The shared expert's gate. */
    GEMM,
    /** Gates of as many experts as a token chooses. */
    GROUPED_GEMM,
    GROUPED_SWIGLU,
    GROUPED_COMBINE,
    MLA_QUERY,
    LATENT_APPEND,
    MLA_ATTENTION,
    MLA_OUTPUT,
    /** Behind some thousand positions of the same prompt. */
    MLA_EXPANDED,
    SCORE,
    ROUTE,
    GATHER,
    COMBINE,
    SWIGLU,
    ADD,
    EMBED,
    ARGMAX;

    /** As panamoe.h calls it, without pm_. */
    @Override
    public String toString() {
        return name().toLowerCase(Locale.ROOT);
    }

    /** @throws IllegalArgumentException naming those that there are */
    public static Function of(String name) {
        return Arrays.stream(values())
                .filter(function -> function.toString().equals(name))
                .findFirst()
                .orElseThrow(() -> new IllegalArgumentException("function %s: there are %s"
                        .formatted(
                                name,
                                Arrays.stream(values()).map(Function::toString).collect(Collectors.joining(", ")))));
    }

    /** From one to where arithmetic is the limit; what is small at every size has fewer. */
    public List<Integer> usualRows() {
        return switch (this) {
            case GEMM, GROUPED_GEMM, GROUPED_SWIGLU, GROUPED_COMBINE, MLA_QUERY, MLA_OUTPUT -> List.of(1, 8, 64, 512);
            case MLA_ATTENTION -> List.of(1, 8);
            case MLA_EXPANDED -> List.of(512);
            case RMS_NORM, LATENT_APPEND, SCORE, ROUTE, GATHER, COMBINE, SWIGLU, ADD, EMBED, ARGMAX -> List.of(1, 512);
        };
    }

    /** Calls in the sizes of a model, for each number of rows; in each format, or at each depth, where it has any. */
    public Stream<KernelWork> works(Shape shape, List<QuantFormat> formats, List<Integer> rows, List<Integer> depths) {
        return switch (this) {
            case GEMM -> each(formats, rows, (f, T) -> Gemm.of(shape, "shared_experts.gate_proj", f, T));
            case GROUPED_GEMM -> {
                int chosen = shape.config().numExpertsPerTok();
                yield each(formats, rows, (f, T) -> GroupedGemm.of(shape, "gate_proj", f, chosen, T));
            }
            case GROUPED_SWIGLU -> {
                int chosen = shape.config().numExpertsPerTok();
                yield each(formats, rows, (f, T) -> GroupedSwiglu.of(shape, f, chosen, T));
            }
            case GROUPED_COMBINE -> {
                int chosen = shape.config().numExpertsPerTok();
                yield each(formats, rows, (f, T) -> GroupedCombine.of(shape, f, chosen, T));
            }
            case MLA_QUERY -> each(formats, rows, (f, T) -> MlaQuery.of(shape, f, T));
            case MLA_OUTPUT -> each(formats, rows, (f, T) -> MlaOutput.of(shape, f, T));
            case MLA_ATTENTION -> each(depths, rows, (depth, T) -> MlaAttention.of(shape, DType.F32, T, depth));
            case MLA_EXPANDED -> each(depths, rows, (depth, T) -> MlaExpanded.of(shape, QuantFormat.BF16, T, depth));
            case RMS_NORM -> rows.stream().map(T -> RmsNorm.of(shape, T));
            case LATENT_APPEND -> rows.stream().map(T -> LatentAppend.of(shape, T));
            case SCORE -> rows.stream().map(T -> Score.of(shape, T));
            case ROUTE -> rows.stream().map(T -> Route.of(shape, T));
            case GATHER -> rows.stream().map(T -> Gather.of(shape, T));
            case COMBINE -> rows.stream().map(T -> Combine.of(shape, T));
            case SWIGLU -> rows.stream().map(T -> Swiglu.of(shape, T));
            case ADD -> rows.stream().map(T -> Add.of(shape, T));
            case EMBED -> rows.stream().map(T -> Embed.of(shape, T));
            case ARGMAX -> rows.stream().map(T -> Argmax.of(shape, T));
        };
    }

    @FunctionalInterface
    private interface Sizes<A> {
        KernelWork with(A choice, int rows);
    }

    private static <A> Stream<KernelWork> each(List<A> choices, List<Integer> rows, Sizes<A> sizes) {
        return choices.stream().flatMap(choice -> rows.stream().map(T -> sizes.with(choice, T)));
    }
}
