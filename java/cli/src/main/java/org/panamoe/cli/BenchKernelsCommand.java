package org.panamoe.cli;

import java.io.IOException;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.Callable;
import org.jspecify.annotations.Nullable;
import org.panamoe.bench.Shape;
import org.panamoe.bench.WeightFormats;
import org.panamoe.bench.kernel.Caches;
import org.panamoe.bench.kernel.Function;
import org.panamoe.bench.kernel.KernelPlan;
import org.panamoe.bench.kernel.KernelWork;
import org.panamoe.tensor.QuantFormat;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;

@Command(
        name = "kernels",
        sortOptions = false,
        header = "Measures the kernels one by one, against the limits of the machine.",
        description =
                "%nEvery function in sizes of a model, in rounds over all of them; between rounds what the machine reads and"
                        + " multiplies with the same threads. The benchmarks of JMH call the same, in more variants.%n",
        footer = {
            "%nExamples:",
            "  panamoe bench kernels",
            "  panamoe bench kernels --functions gemm --weights fp8 --rows 1,64 --threads 1,2",
            "  panamoe bench kernels --json --output kernels.json%n"
        })
final class BenchKernelsCommand implements Callable<Integer> {
    @Option(names = "--shape", paramLabel = "NAME", description = "Whose sizes: v3, v2-lite or kimi-k2.")
    private String shape = "v3";

    @Option(
            names = "--functions",
            paramLabel = "NAME,..",
            split = ",",
            description = "Of panamoe.h, without pm_; without it all that compute.")
    private @Nullable List<String> functions;

    @Option(
            names = "--rows",
            paramLabel = "T,..",
            split = ",",
            description = "Rows of a call, of each expert; without it 1 to 512, of attention 1 and 8.")
    private @Nullable List<Integer> rows;

    @Option(names = "--depth", paramLabel = "D,..", split = ",", description = "Positions that attention sees.")
    private List<Integer> depth = List.of(4096, 16384);

    @Option(
            names = "--weights",
            paramLabel = "FORMAT,..",
            split = ",",
            description = "How projections are stored: f32, bf16, fp8, int8, int4.")
    private List<String> weights = List.of("bf16", "fp8", "int8", "int4");

    @Option(
            names = "--caches",
            paramLabel = "STATE",
            description = "Of weights and latents: cold (in memory) or hot (where the call before left them).")
    private String caches = "cold";

    @Option(
            names = "--isa",
            paramLabel = "NAME",
            description = "generic, avx2, avx512 or avx512vnni; without it the best that this CPU has.")
    private @Nullable String isa;

    @Mixin
    private final BenchOptions options = new BenchOptions();

    private final Console console;

    BenchKernelsCommand(Console console) {
        this.console = console;
    }

    @Override
    public Integer call() throws IOException {
        if (rows != null) options.within("--rows", rows, 1, 1 << 16);
        options.within("--depth", depth, 1, 163840);
        KernelPlan plan;
        try {
            var widths = Shape.of(shape);
            plan = new KernelPlan(
                    widths,
                    works(widths),
                    caches(),
                    options.threads(),
                    isa == null ? "" : isa,
                    options.rounds(),
                    options.seconds(0.25));
        } catch (IllegalArgumentException e) {
            throw options.wrong(Reason.of(e));
        }
        options.run(console, plan::run);
        return 0;
    }

    private List<KernelWork> works(Shape widths) {
        List<Function> wanted = functions == null
                ? List.of(Function.values())
                : functions.stream().map(Function::of).toList();
        List<QuantFormat> formats = weights.stream().map(WeightFormats::of).toList();
        var works = new ArrayList<KernelWork>();
        for (var function : wanted)
            works.addAll(function.works(widths, formats, rows == null ? function.usualRows() : rows, depth)
                    .toList());
        return works;
    }

    private Caches caches() {
        for (var known : Caches.values()) if (known.toString().equals(caches)) return known;
        throw new IllegalArgumentException("caches %s: there are cold and hot".formatted(caches));
    }
}
