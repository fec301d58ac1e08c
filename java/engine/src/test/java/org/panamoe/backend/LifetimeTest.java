package org.panamoe.backend;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.io.IOException;
import java.lang.foreign.Arena;
import java.lang.foreign.SymbolLookup;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Optional;
import java.util.concurrent.atomic.AtomicReference;
import java.util.function.Consumer;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;
import org.panamoe.Jvm;
import org.panamoe.tensor.DType;
import org.panamoe.tensor.QuantFormat;
import org.panamoe.tensor.Tensor;

/** Opening, closing, memory and threads. */
@Timeout(120)
final class LifetimeTest {
    @ParameterizedTest
    @MethodSource("variants")
    void closingIsRefusedWhileMemoryIsInUse(Variant variant) {
        var kernels = variant.open();
        try (var arena = Arena.ofConfined()) {
            kernels.allocate(arena, DType.F32, 3, 262144);
            assertThat(kernels.allocated()).isEqualTo(3145728);
            assertThatThrownBy(kernels::close)
                    .isInstanceOf(IllegalStateException.class)
                    .hasMessage("close: 3145728 bytes are still allocated: close models and caches first");
            kernels.synchronize(); // it is still open
        }
        assertThat(kernels.allocated()).isZero();
        kernels.close();
        kernels.close();
    }

    @ParameterizedTest
    @MethodSource("variants")
    void nothingCanBeCalledOnceClosed(Variant variant) {
        var kernels = variant.open();
        kernels.close();
        try (var arena = Arena.ofConfined()) {
            // No rows, so that it does not matter whether the back end computes in the host's memory.
            var x = Tensor.allocate(arena, DType.F32, 0, 4);
            var y = Tensor.allocate(arena, DType.F32, 0, 4);
            List<Consumer<Kernels>> calls = List.of(
                    k -> k.allocate(arena, DType.F32, 1),
                    Kernels::allocated,
                    Kernels::synchronize,
                    Kernels::readBandwidth,
                    k -> k.copy(y, x),
                    k -> k.add(y, x));
            for (var call : calls)
                assertThatThrownBy(() -> call.accept(kernels))
                        .isInstanceOf(IllegalStateException.class)
                        .hasMessageEndingWith(": this back end is closed");
        }
    }

    /** Its threads end, though nobody holds it. */
    @Test
    void aBackEndThatDoesNotSayWhatItIsIsClosed() throws IOException {
        new Variant("cpu", "").open().close(); // or skip
        var library = SymbolLookup.libraryLookup(Backend.library("cpu"), Arena.global());
        for (String missing : List.of("pm_describe", "pm_memory")) {
            SymbolLookup part = name -> name.equals(missing) ? Optional.empty() : library.find(name);
            long before = threads();
            for (int i = 0; i < 20; i++)
                assertThatThrownBy(() -> new NativeKernels(part, "threads=4"))
                        .isInstanceOf(KernelException.class)
                        .hasMessage(missing + " is not in this back end");
            assertThat(threads() - before).isLessThanOrEqualTo(2); // the JVM's own come and go
        }
    }

    /** Memory of no bytes does not keep a back end open, but is freed one day all the same. */
    @ParameterizedTest
    @MethodSource("variants")
    void memoryOfNoBytesMayOutliveItsBackEnd(Variant variant) {
        var kernels = variant.open();
        try (var arena = Arena.ofConfined()) {
            kernels.allocate(arena, DType.F32, 0, 8);
            kernels.close();
        }
    }

    @ParameterizedTest
    @MethodSource("variants")
    void aligned(Variant variant) {
        try (var on = new On(variant.open())) {
            for (int bytes = 0; bytes < 200; bytes++)
                assertThat(on.kernels.allocate(on.arena, DType.U8, bytes).data.address() % 64)
                        .isZero();
        }
    }

    /** One caller at a time; but an arena may be closed by anybody at any time, and by the garbage collector. */
    @ParameterizedTest
    @MethodSource("variants")
    @SuppressWarnings("MustBeClosedChecker") // that another thread closes it is the point
    void othersMayCloseArenasButNotCall(Variant variant) throws InterruptedException {
        try (var on = new On(variant.open())) {
            var failure = new AtomicReference<RuntimeException>();
            var busy = Thread.ofPlatform().start(() -> {
                try {
                    on.kernels.readBandwidth(); // takes a while
                } catch (RuntimeException e) {
                    failure.set(e);
                }
            });
            String refused = null;
            while (busy.isAlive() && refused == null) {
                try {
                    on.kernels.synchronize();
                } catch (IllegalStateException e) {
                    refused = e.getMessage();
                }
            }
            // Either we came second, or the other thread did.
            busy.join();
            if (failure.get() != null) refused = failure.get().getMessage();
            assertThat(refused).contains("one caller at a time");

            var x = new Given(on.arena, 1).floats(1, 8, 512);
            var w = on.in(new Given(on.arena, 2).weight(QuantFormat.F32, 512, 512));
            var there = on.in(x);
            var y = on.out(8, 512);
            on.kernels.gemm(y, there, w);
            float[] expected = on.floats(y);
            for (int round = 0; round < 50; round++) {
                var arena = Arena.ofShared();
                for (int i = 0; i < 20; i++) on.kernels.allocate(arena, DType.F32, 100);
                var closing = Thread.ofPlatform().start(arena::close);
                on.kernels.gemm(y, there, w);
                closing.join();
            }
            assertThat(on.floats(y)).isEqualTo(expected);
        }
    }

    /**
     * What a model does, a hundred times: memory and threads are those of the beginning. In a JVM whose heap is all there
     * from the start, so that resident memory grows by native memory alone.
     */
    @ParameterizedTest
    @MethodSource("onePerBackEnd")
    void aHundredOpensAndClosesLeaveNothing(Variant variant) throws Exception {
        variant.open().close(); // or skip
        var grown = Jvm.run(
                        List.of(
                                "-Xms64m",
                                "-Xmx64m",
                                "-XX:+AlwaysPreTouch",
                                "--enable-native-access=ALL-UNNAMED",
                                "--class-path=" + System.getProperty("java.class.path")),
                        Hundred.class,
                        variant.name(),
                        variant.options())
                .strip()
                .split(" ", -1);
        assertThat(Integer.parseInt(grown[0])).as("threads").isLessThanOrEqualTo(2); // the JVM's own come and go
        // The megabyte of each round would be 100 MB, had it leaked; compiled code grows by less than this.
        assertThat(Long.parseLong(grown[1])).as("resident bytes").isLessThan(16L << 20);
    }

    /** Prints by how much threads and resident memory grow over a hundred rounds. */
    static final class Hundred {
        public static void main(String[] args) throws IOException {
            var variant = new Variant(args[0], args[1]);
            for (int warm = 0; warm < 200; warm++) openAndClose(variant);
            long threads = threads(), rss = rss();
            for (int round = 0; round < 100; round++) openAndClose(variant);
            System.out.println(threads() - threads + " " + (rss() - rss));
        }
    }

    private static void openAndClose(Variant variant) {
        try (var on = new On(variant.open())) {
            var w = on.in(new Given(on.arena, 1).weight(QuantFormat.F32, 4, 4));
            var big = on.kernels.allocate(on.arena, DType.F32, 256, 1024);
            on.kernels.copy(big, Tensor.allocate(on.arena, DType.F32, 256, 1024)); // touches all of it
            var y = on.out(4, 4);
            on.kernels.gemm(y, on.in(Tensor.allocate(on.arena, DType.F32, 4, 4)), w);
            assertThat(on.floats(y)).containsOnly(0);
        }
    }

    private static long rss() throws IOException {
        try (var lines = Files.lines(Path.of("/proc/self/status"))) {
            return lines.filter(line -> line.startsWith("VmRSS:"))
                            .mapToLong(line -> Long.parseLong(line.replaceAll("\\D", "")))
                            .sum()
                    << 10;
        }
    }

    private static long threads() throws IOException {
        try (Stream<Path> tasks = Files.list(Path.of("/proc/self/task"))) {
            return tasks.count();
        }
    }

    static List<Variant> onePerBackEnd() {
        return Stream.concat(
                        Stream.of(new Variant("cpu", "threads=2"), new Variant("reference", "")),
                        Variant.fast().stream()
                                .filter(variant -> !variant.name().equals("cpu")))
                .toList();
    }

    static List<Variant> variants() {
        return Variant.all().stream()
                .filter(variant -> !variant.options().contains("threads=1"))
                .toList();
    }
}
