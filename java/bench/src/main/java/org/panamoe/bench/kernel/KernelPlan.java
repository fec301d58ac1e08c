package org.panamoe.bench.kernel;

import java.lang.foreign.Arena;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.HashMap;
import java.util.List;
import java.util.function.Consumer;
import org.panamoe.backend.Backend;
import org.panamoe.backend.Kernels;
import org.panamoe.bench.CpuClock;
import org.panamoe.bench.Machine;
import org.panamoe.bench.Report;
import org.panamoe.bench.Samples;
import org.panamoe.bench.Shape;
import tools.jackson.databind.node.JsonNodeFactory;

/**
 * Which calls are measured in one run, with each number of threads: in rounds over all of them, with the limits of the
 * machine measured between rounds, so that a minute in which it is slow falls on all alike.
 *
 * @param shape whose sizes the works have
 * @param threads of the cpu back end; 0: one for each physical core
 * @param isa an instruction set of the cpu back end; empty: the best one
 * @param seconds that each round spends on each call, at least one sample
 */
public record KernelPlan(
        Shape shape,
        List<KernelWork> works,
        Caches caches,
        List<Integer> threads,
        String isa,
        int rounds,
        double seconds) {
    /** That a sample takes at least: long enough for the clocks. */
    private static final double SAMPLE = 0.005;

    public KernelPlan {
        works = List.copyOf(works);
        threads = List.copyOf(threads);
    }

    /** Bytes of weights, latents and activations, about. */
    public long memory() {
        double activations = 0;
        var slabs = new HashMap<String, Long>();
        for (var work : works) {
            activations += Math.max(0, work.bytes() - work.weightBytes());
            if (work.weightBytes() > 0)
                slabs.merge(
                        String.valueOf(work.format()),
                        Math.max(Inputs.slabBytes(caches), work.weightBytes()),
                        Math::max);
        }
        return (long) (threads.size() * activations)
                + slabs.values().stream().mapToLong(Long::longValue).sum();
    }

    /**
     * @param begun is told what has its turn
     * @throws IllegalStateException if the machine has too little memory
     * @throws IllegalArgumentException if this CPU lacks the instruction set
     */
    public Report run(Consumer<String> begun) {
        var machine = Machine.read();
        machine.require(memory(), "the inputs of these kernels");
        var opened = new ArrayList<Kernels>();
        try {
            for (int t : threads) {
                var options = (t == 0 ? "" : "threads=" + t + " ") + (isa.isEmpty() ? "" : "isa=" + isa);
                opened.add(Backend.require("cpu", options.strip()));
            }
            try (var arena = Arena.ofShared()) {
                begun.accept("making inputs");
                var inputs = new Inputs(opened.getFirst(), opened.getFirst()::allocate, arena, 1, caches);
                var turns = new HashMap<KernelWork, List<Turn>>();
                // The largest first: then no slab has to grow.
                works.stream()
                        .sorted(Comparator.comparingLong(KernelWork::weightBytes)
                                .reversed())
                        .forEach(work -> turns.put(
                                work,
                                opened.stream()
                                        .map(kernels -> new Turn(kernels, work, work.prepare(kernels, inputs)))
                                        .toList()));
                return run(
                        machine,
                        opened,
                        works.stream().map(turns::get).flatMap(List::stream).toList(),
                        begun);
            }
        } finally {
            opened.forEach(Kernels::close);
        }
    }

    private Report run(Machine machine, List<Kernels> opened, List<Turn> turns, Consumer<String> begun) {
        var before = Machine.Load.now();
        var limits = new HashMap<Kernels, Limits>();
        for (var kernels : opened) limits.put(kernels, new Limits());
        limits.forEach((kernels, limit) -> limit.measure(kernels));
        for (int round = 1; round <= rounds; round++) {
            for (var turn : turns) {
                begun.accept("round %d of %d: %s".formatted(round, rounds, turn.work));
                turn.run(seconds);
            }
            limits.forEach((kernels, limit) -> limit.measure(kernels));
        }
        var results = turns.stream()
                .map(turn -> turn.result(this, limits.getOrDefault(turn.kernels, new Limits())))
                .toList();
        var told = JsonNodeFactory.instance.objectNode();
        for (var kernels : opened) {
            var limit = limits.getOrDefault(kernels, new Limits());
            var mine = told.putObject("threads_" + Report.threads(kernels));
            mine.put("gb_per_second", new Samples(limit.bandwidth).median() / 1e9);
            mine.put("gflop_per_second", new Samples(limit.fma).median() / 1e9);
            mine.put("int8_gop_per_second", new Samples(limit.int8).median() / 1e9);
        }
        return new Report(
                shape + ", " + Report.described(opened.getFirst(), "isa"),
                machine.json(before, opened.getFirst()),
                told,
                results);
    }

    /** What the machine could do, each time that it was asked. */
    private static final class Limits {
        final List<Double> bandwidth = new ArrayList<>(), fma = new ArrayList<>(), int8 = new ArrayList<>();

        void measure(Kernels kernels) {
            bandwidth.add((double) kernels.readBandwidth());
            fma.add((double) kernels.fmaRate());
            int8.add((double) kernels.int8Rate());
        }
    }

    /** One call with one number of threads. */
    private static final class Turn {
        final Kernels kernels;
        final KernelWork work;
        private final Call call;
        private final List<Double> samples = new ArrayList<>(), cpuSamples = new ArrayList<>();
        private int calls;

        Turn(Kernels kernels, KernelWork work, Call call) {
            this.kernels = kernels;
            this.work = work;
            this.call = call;
        }

        void run(double seconds) {
            call.launch(); // warms up what others have pushed out: code, threads, activations
            if (calls == 0) for (calls = 1; wall(calls) < SAMPLE; calls *= 2) {}
            long until = System.nanoTime() + (long) (seconds * 1e9);
            do {
                double cpu = CpuClock.seconds();
                samples.add(wall(calls) / calls);
                cpuSamples.add((CpuClock.seconds() - cpu) / calls);
            } while (System.nanoTime() < until);
        }

        private double wall(int calls) {
            long before = System.nanoTime();
            for (int i = 0; i < calls; i++) call.launch();
            return (System.nanoTime() - before) / 1e9;
        }

        KernelResult result(KernelPlan plan, Limits limits) {
            return new KernelResult(
                    plan.shape,
                    work,
                    work.weightBytes() == 0 ? Caches.HOT : plan.caches,
                    Report.threads(kernels),
                    Report.described(kernels, "isa"),
                    calls,
                    new Samples(samples),
                    new Samples(cpuSamples),
                    new Samples(limits.bandwidth).median(),
                    new Samples(work.integer() ? limits.int8 : limits.fma).median());
        }
    }
}
