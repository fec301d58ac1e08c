package org.panamoe.benchmarks;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.lang.module.ModuleFinder;
import java.util.Optional;
import org.panamoe.backend.Backend;
import org.panamoe.tensor.Tensor;
import org.panamoe.tensor.Weight;

/** What others make of the product y = x w^T of F32 matrices, in fp32. Not all of them are on every machine. */
public enum Baseline {
    /** What a product means: plain Java, sums in double, on one thread. */
    REFERENCE,
    /** Plain Java, too, with the Vector API. */
    VECTOR_API,
    /** Three loops in C, as a compiler makes them. */
    C,
    OPENBLAS,
    ONEDNN;

    private static final String VECTOR_MODULE = "jdk.incubator.vector";

    /** One of them, ready to multiply. */
    interface Gemm extends AutoCloseable {
        void gemm(Tensor y_TF, Tensor x_TD, Tensor w_FD);

        /** Which one, of which version, with how many threads. */
        String describe();

        @Override
        default void close() {}
    }

    /** Why this machine does not have it, if so. */
    public Optional<String> absence() {
        return switch (this) {
            case REFERENCE, C -> Optional.empty();
            case VECTOR_API ->
                ModuleFinder.ofSystem().find(VECTOR_MODULE).isPresent()
                        ? Optional.empty()
                        : Optional.of("this Java has no module " + VECTOR_MODULE);
            case OPENBLAS -> OpenBlas.library().absence();
            case ONEDNN -> OneDnn.library().absence();
        };
    }

    /** @throws IllegalStateException if it is absent, with the reason */
    Gemm open(int threads) {
        absence().ifPresent(reason -> {
            throw new IllegalStateException(this + " is absent: " + reason);
        });
        return switch (this) {
            case REFERENCE -> reference();
            case VECTOR_API -> {
                if (ModuleLayer.boot().findModule(VECTOR_MODULE).isEmpty())
                    throw new IllegalStateException(
                            this + " without a fork: start Java with --add-modules=" + VECTOR_MODULE);
                yield new VectorGemm(threads);
            }
            case C -> {
                try {
                    yield new NaiveGemm(threads);
                } catch (IOException e) {
                    throw new UncheckedIOException(e);
                }
            }
            case OPENBLAS -> new OpenBlas(threads);
            case ONEDNN -> new OneDnn(threads);
        };
    }

    private static Gemm reference() {
        var kernels = Backend.require("reference");
        return new Gemm() {
            @Override
            public void gemm(Tensor y_TF, Tensor x_TD, Tensor w_FD) {
                kernels.gemm(y_TF, x_TD, Weight.of(w_FD));
            }

            @Override
            public String describe() {
                return kernels.describe();
            }

            @Override
            public void close() {
                kernels.close();
            }
        };
    }
}
