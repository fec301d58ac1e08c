package org.panamoe.bench;

import java.lang.foreign.Arena;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.function.Consumer;
import org.jspecify.annotations.Nullable;
import org.panamoe.checkpoint.Footprint;
import org.panamoe.checkpoint.TensorSpec;
import org.panamoe.model.StepMemory;
import org.panamoe.tensor.DType;
import tools.jackson.databind.node.JsonNodeFactory;

/**
 * What is measured in one run: each piece of work with each number of threads, in rounds, so that a minute in which the
 * machine is slow falls on all of them alike.
 *
 * @param threads of the cpu back end; 0: one for each physical core
 * @param seconds that each round spends on each piece of work, at least one step
 * @param profile whether the kernels are timed, too
 */
public record Plan(Slice slice, List<Work> work, List<Integer> threads, int rounds, double seconds, boolean profile) {
    /** Steps that are not counted, before those of a round. */
    private static final int WARM_UP = 1;

    /** Bytes of weights, and for each number of threads of latents and of what a step works in beside them. */
    public long memory() {
        var footprint = Footprint.of(slice.config(), DType.BF16);
        long latents = work.stream()
                .mapToLong(w -> (long) w.batch() * (w.positions() + 64) * footprint.cacheBytesPerPosition())
                .max()
                .orElse(0);
        int rows = work.stream().mapToInt(Plan::rows).max().orElse(0);
        int sampled = work.stream().mapToInt(Work::batch).max().orElse(0);
        long positions = latents / footprint.cacheBytesPerPosition();
        var step = StepMemory.of(slice.config());
        int processors = Runtime.getRuntime().availableProcessors();
        return weightBytes()
                + threads.stream()
                        .mapToLong(t -> latents + step.bytes(rows, sampled, positions, t == 0 ? processors : t))
                        .sum();
    }

    private static int rows(Work work) {
        return switch (work) {
            case Work.Decode decode -> decode.batch();
            case Work.Prefill prefill -> Math.min(prefill.prompt(), ModelBench.CHUNK);
        };
    }

    private long weightBytes() {
        return TensorSpec.of(slice.config()).stream()
                .mapToLong(spec -> {
                    var stored = spec.quantized(slice.format());
                    if (stored == null) return spec.size() * DType.BF16.bytes;
                    return stored.bytes(spec.shape().getFirst(), spec.shape().get(1));
                })
                .sum();
    }

    /**
     * @param begun is told which piece of work has its turn
     * @throws IllegalStateException if the machine has too little memory
     */
    public Report run(Consumer<String> begun) {
        var machine = Machine.read();
        machine.require(memory(), WeightFormats.name(slice.format()) + " weights of this slice and its cache");
        try (var arena = Arena.ofShared()) {
            begun.accept("making weights");
            var checkpoint = new RandomWeights(1).checkpoint(arena, slice.config(), slice.format());
            var benches = new LinkedHashMap<Integer, ModelBench>();
            try {
                for (int t : threads)
                    benches.put(t, new ModelBench(checkpoint, "cpu", t == 0 ? "" : "threads=" + t, profile));
                return run(machine, benches, begun);
            } finally {
                benches.values().forEach(ModelBench::close);
            }
        }
    }

    private String subject() {
        return "%s, %d layers (%d dense), %d experts, vocab %d, %s"
                .formatted(
                        slice.shape(),
                        slice.layers(),
                        slice.dense(),
                        slice.experts(),
                        slice.vocab(),
                        WeightFormats.name(slice.format()));
    }

    private Report run(Machine machine, Map<Integer, ModelBench> benches, Consumer<String> begun) {
        var before = Machine.Load.now();
        var turns = new LinkedHashMap<String, Turn>();
        for (int round = 1; round <= rounds; round++)
            for (var w : work)
                for (var entry : benches.entrySet()) {
                    String name = "%s, threads=%d".formatted(w, entry.getKey());
                    begun.accept("round %d of %d: %s".formatted(round, rounds, name));
                    turns.computeIfAbsent(name + w.hashCode(), _ -> new Turn(w, entry.getValue()))
                            .run(slice, seconds);
                }
        var card = machine.json(before, benches.values().iterator().next().kernels());
        var results = turns.values().stream().map(turn -> turn.result(slice)).toList();
        var limits = JsonNodeFactory.instance.objectNode();
        for (var entry : benches.entrySet()) {
            int t = Report.threads(entry.getValue().kernels());
            var mine = limits.putObject("threads_" + t);
            var of = results.stream().filter(result -> result.threads() == t).toList();
            mine.put(
                    "gb_per_second",
                    of.stream().mapToDouble(ModelResult::bandwidth).average().orElse(0) / 1e9);
            mine.put(
                    "gflop_per_second",
                    of.stream().mapToDouble(ModelResult::peak).average().orElse(0) / 1e9);
        }
        return new Report(subject(), card, limits, results);
    }

    /** One piece of work with one number of threads. */
    private static final class Turn {
        private final Work work;
        private final ModelBench bench;
        private final List<Double> samples = new ArrayList<>(),
                bandwidths = new ArrayList<>(),
                peaks = new ArrayList<>(),
                emptyCalls = new ArrayList<>();
        private final List<Profile.Step> profiled = new ArrayList<>();
        private double bytes, cpuSeconds;

        Turn(Work work, ModelBench bench) {
            this.work = work;
            this.bench = bench;
        }

        void run(Slice slice, double seconds) {
            bench.begin(work);
            for (int i = 0; i < WARM_UP; i++) bench.step();
            bandwidths.add((double) bench.kernels().readBandwidth());
            var kernels = bench.kernels();
            peaks.add((double) (slice.format().integer() ? kernels.int8Rate() : kernels.fmaRate()));
            bench.emptyCall().ifPresent(emptyCalls::add);
            var times = new Times();
            bench.tell(times);
            long until = System.nanoTime() + (long) (seconds * 1e9);
            do {
                var step = bench.step();
                profiled.add(new Profile.Step(step.seconds(), times.take()));
                samples.add(step.seconds());
                bytes += bench.bytes(step.experts());
                cpuSeconds += step.cpuSeconds();
            } while (System.nanoTime() < until);
            bench.tell(new Times());
            bandwidths.add((double) bench.kernels().readBandwidth());
        }

        ModelResult result(Slice slice) {
            return new ModelResult(
                    slice,
                    work,
                    Report.threads(bench.kernels()),
                    new Samples(samples),
                    bytes / samples.size(),
                    work.flops(slice.config(), bench.footprint()),
                    new Samples(bandwidths).median(),
                    new Samples(peaks).median(),
                    cpuSeconds,
                    profile());
        }

        private @Nullable Profile profile() {
            return emptyCalls.isEmpty() ? null : Profile.of(profiled, new Samples(emptyCalls).median());
        }
    }
}
