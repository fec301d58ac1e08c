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
        works = works.stream().distinct().toList();
        threads = threads.stream().distinct().toList();
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
        var opened = new ArrayList<Limited>();
        try {
            for (int t : threads) {
                var options = (t == 0 ? "" : "threads=" + t + " ") + (isa.isEmpty() ? "" : "isa=" + isa);
                opened.add(new Limited(Backend.require("cpu", options.strip())));
            }
            try (var arena = Arena.ofShared()) {
                begun.accept("making inputs");
                var first = opened.getFirst().kernels;
                var inputs = new Inputs(first, first::allocate, arena, 1, caches);
                var turns = new HashMap<KernelWork, List<Turn>>();
                // The largest first: then no slab has to grow.
                works.stream()
                        .sorted(Comparator.comparingLong(KernelWork::weightBytes)
                                .reversed())
                        .forEach(work -> turns.put(
                                work,
                                opened.stream()
                                        .map(on -> new Turn(on, work, work.prepare(on.kernels, inputs)))
                                        .toList()));
                return run(
                        machine,
                        opened,
                        works.stream().map(turns::get).flatMap(List::stream).toList(),
                        begun);
            }
        } finally {
            opened.forEach(on -> on.kernels.close());
        }
    }

    private Report run(Machine machine, List<Limited> opened, List<Turn> turns, Consumer<String> begun) {
        var before = Machine.Load.now();
        opened.forEach(Limited::measure);
        for (int round = 1; round <= rounds; round++) {
            for (var turn : turns) {
                begun.accept("round %d of %d: %s".formatted(round, rounds, turn.work));
                turn.run(seconds);
            }
            opened.forEach(Limited::measure);
        }
        var limits = JsonNodeFactory.instance.objectNode();
        for (var on : opened) {
            var mine = limits.putObject("threads_" + Report.threads(on.kernels));
            mine.put("gb_per_second", new Samples(on.bandwidth).median() / 1e9);
            mine.put("gflop_per_second", new Samples(on.fma).median() / 1e9);
            mine.put("int8_gop_per_second", new Samples(on.int8).median() / 1e9);
        }
        var first = opened.getFirst().kernels;
        return new Report(
                shape + ", " + Report.described(first, "isa"),
                machine.json(before, first),
                limits,
                turns.stream().map(turn -> turn.result(this)).toList());
    }

    /** A back end with its threads, and what the machine could do with them each time that it was asked. */
    private static final class Limited {
        final Kernels kernels;
        final List<Double> bandwidth = new ArrayList<>(), fma = new ArrayList<>(), int8 = new ArrayList<>();

        Limited(Kernels kernels) {
            this.kernels = kernels;
        }

        void measure() {
            bandwidth.add((double) kernels.readBandwidth());
            fma.add((double) kernels.fmaRate());
            int8.add((double) kernels.int8Rate());
        }
    }

    /** One call with one number of threads. */
    private static final class Turn {
        final KernelWork work;
        private final Limited on;
        private final Call call;
        private final List<Double> samples = new ArrayList<>(), cpuSamples = new ArrayList<>();
        private int calls;

        Turn(Limited on, KernelWork work, Call call) {
            this.on = on;
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

        KernelResult result(KernelPlan plan) {
            return new KernelResult(
                    plan.shape,
                    work,
                    work.weightBytes() == 0 ? Caches.HOT : plan.caches,
                    Report.threads(on.kernels),
                    Report.described(on.kernels, "isa"),
                    calls,
                    new Samples(samples),
                    new Samples(cpuSamples),
                    new Samples(on.bandwidth).median(),
                    new Samples(work.integer() ? on.int8 : on.fma).median());
        }
    }
}
