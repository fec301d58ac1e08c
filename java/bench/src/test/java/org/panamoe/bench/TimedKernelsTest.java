package org.panamoe.bench;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.data.Offset.offset;

import java.lang.foreign.Arena;
import java.lang.reflect.Method;
import java.lang.reflect.Proxy;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Locale;
import org.jspecify.annotations.Nullable;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;
import org.panamoe.backend.Backend;
import org.panamoe.backend.ExpertTable;
import org.panamoe.backend.Kernels;
import org.panamoe.bench.kernel.Function;
import org.panamoe.tensor.DType;
import org.panamoe.tensor.QuantFormat;
import org.panamoe.tensor.Tensor;
import org.panamoe.tensor.Weight;

class TimedKernelsTest {
    static Method[] methods() {
        return Kernels.class.getMethods();
    }

    /** Whatever the interface has is handed on with its arguments, and what computes or waits is timed under its name. */
    @ParameterizedTest
    @MethodSource("methods")
    void handsOnEveryMethod(Method method) throws ReflectiveOperationException {
        var handedOn = new ArrayList<Method>();
        var arguments = new ArrayList<Object>();
        var other = recorder(handedOn, arguments, false);
        var times = new Times();
        var timed = new TimedKernels(other);
        timed.tell(times);
        try (var arena = Arena.ofShared()) {
            Object[] given = Arrays.stream(method.getParameterTypes())
                    .map(type -> given(arena, type))
                    .toArray();
            method.invoke(timed, given);
            handedOn.removeIf(
                    called -> !called.equals(method) && called.getName().equals("onDevice"));
            assertThat(handedOn).containsExactly(method);
            assertThat(arguments).containsExactly(given);
        }
        String name = method.getName().replaceAll("([A-Z])", "_$1").toLowerCase(Locale.ROOT);
        boolean computes =
                Arrays.stream(Function.values()).anyMatch(f -> f.toString().equals(name));
        boolean counts = computes || List.of("copy", "synchronize").contains(name);
        var parts = times.take();
        assertThat(parts.stream().map(Profile.Part::function))
                .containsExactlyElementsOf(counts ? List.of(name) : List.of());
        assertThat(parts).allSatisfy(part -> assertThat(part.calls()).isEqualTo(1));
        assertThat(times.take()).isEmpty();
    }

    /** Every function of the header is a method of the interface, so none can be left out above. */
    @Test
    void knowsEveryFunction() {
        assertThat(Arrays.stream(methods())
                        .map(method ->
                                method.getName().replaceAll("([A-Z])", "_$1").toLowerCase(Locale.ROOT)))
                .containsAll(
                        Arrays.stream(Function.values()).map(Function::toString).toList());
    }

    @Test
    void waitsForADeviceInEveryCall() {
        var handedOn = new ArrayList<Method>();
        var timed = new TimedKernels(recorder(handedOn, new ArrayList<>(), true));
        try (var arena = Arena.ofShared()) {
            var any = tensor(arena);
            timed.add(any, any);
        }
        assertThat(handedOn.stream().map(Method::getName)).containsExactly("add", "onDevice", "synchronize");
    }

    /** The same products count together, others apart; what is outside is the rest of the step. */
    @Test
    void addsUp() {
        var times = new Times();
        times.add("gemm", 1, 3, 5, 1_000_000);
        times.add("add", 0, 0, 0, 500_000);
        times.add("gemm", 1, 5, 3, 3_000_000);
        times.add("gemm", 1, 3, 5, 2_000_000);
        times.add("grouped_swiglu", 4, 3, 5, 7_500_000);
        var first = new Profile.Step(0.015, times.take());
        times.add("gemm", 1, 3, 5, 1_000_000);
        var second = new Profile.Step(0.005, times.take());
        times.add("gemm", 1, 3, 5, 1_000_000_000);
        var held = new Profile.Step(2, times.take());
        var slow = new Profile.Step(1, List.of());
        var profile = Profile.of(List.of(held, first, slow, second), 1e-7);
        assertThat(profile.seconds()).isCloseTo(0.01, offset(1e-12));
        assertThat(profile.parts().stream().map(Profile.Part::name))
                .containsExactly(
                        "grouped_swiglu 4 x 2 x 3 x 5", "gemm 3 x 5", "gemm 5 x 3", "add", "outside the kernels");
        assertThat(profile.parts().stream().map(Profile.Part::calls)).containsExactly(0.5, 1.5, 0.5, 0.5, 0.0);
        assertThat(profile.calls()).isEqualTo(3);
        assertThat(profile.kernels().get(1).seconds()).isCloseTo(0.002, offset(1e-12));
        assertThat(profile.outside().seconds()).isCloseTo(0.0025, offset(1e-12));
        assertThat(profile.parts().stream().mapToDouble(profile::share).sum()).isCloseTo(1, offset(1e-12));
        assertThat(profile.json().path(1).path("sizes").asString()).isEqualTo("3 x 5");
        assertThat(profile.json().path(3).has("sizes")).isFalse();
    }

    /** A call that fails is not counted, and a real one is. */
    @Test
    void timesRealCalls() {
        try (var kernels = new TimedKernels(Backend.require("reference"));
                var arena = Arena.ofShared()) {
            var times = new Times();
            kernels.tell(times);
            var y_TD = kernels.allocate(arena, DType.F32, 2, 3);
            var x_TD = kernels.allocate(arena, DType.F32, 2, 4);
            assertThatThrownBy(() -> kernels.add(y_TD, x_TD)).isInstanceOf(IllegalArgumentException.class);
            assertThat(times.take()).isEmpty();
            kernels.add(y_TD, kernels.allocate(arena, DType.F32, 2, 3));
            assertThat(kernels.emptyCall()).isBetween(1e-9, 1e-3); // and is not told
            assertThat(times.take()).singleElement().satisfies(part -> {
                assertThat(part.calls()).isEqualTo(1);
                assertThat(part.seconds()).isPositive();
            });
        }
    }

    private static Kernels recorder(List<Method> handedOn, List<Object> arguments, boolean device) {
        return (Kernels) Proxy.newProxyInstance(
                Kernels.class.getClassLoader(), new Class<?>[] {Kernels.class}, (proxy, method, given) -> {
                    handedOn.add(method);
                    if (given != null) arguments.addAll(Arrays.asList(given));
                    return switch (method.getReturnType().getSimpleName()) {
                        case "boolean" -> device;
                        case "long" -> 0L;
                        case "float" -> 0f;
                        default -> null;
                    };
                });
    }

    private static Tensor tensor(Arena arena) {
        return Tensor.allocate(arena, DType.F32, 2, 2);
    }

    private static @Nullable Object given(Arena arena, Class<?> type) {
        if (type == Arena.class) return arena;
        if (type == Tensor.class) return tensor(arena);
        if (type == Weight.class) return new Weight(QuantFormat.F32, tensor(arena), null);
        if (type == float.class) return 1f;
        if (type == long[].class) return new long[] {2};
        if (type == DType.class) return DType.F32;
        if (type == ExpertTable.class)
            return new ExpertTable(
                    Backend.require("reference"), arena, List.of(new Weight(QuantFormat.F32, tensor(arena), null)));
        return null; // nobody looks into it
    }
}
