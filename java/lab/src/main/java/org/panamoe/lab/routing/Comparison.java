package org.panamoe.lab.routing;

import com.google.common.collect.ImmutableList;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.Callable;

/** Several methods on the same input, with the same seeds, measured alike. */
public final class Comparison {
    /** DeepSeek-V3's hidden size, and the rows of a tile of its grouped GEMM: what a token weighs unless said otherwise. */
    public static final int HIDDEN = 7168;

    public static final int TILE = 128;

    private final ImmutableList<Cell> cells;

    /** @param detail whether the rows hold curves, counts and biases too */
    public Comparison(Replay replay, Input input, List<MethodSpec> methods, List<Long> seeds, boolean detail) {
        var trace = replay.trace();
        var all = ImmutableList.<Cell>builder();
        for (var method : methods) {
            Methods.make(method, trace.rule(), trace.bias(trace.layers().getFirst()));
            for (long seed : seeds)
                all.add(new Cell(replay, trace.name(), input.fingerprint(), method, input.drift(), seed, detail));
        }
        cells = all.build();
    }

    public int size() {
        return cells.size();
    }

    /** The rows of all methods and seeds, in this order; {@code done} is called after each. */
    public List<Row> run(int threads, Runnable done) {
        var tasks = new ArrayList<Callable<List<Row>>>();
        for (var cell : cells)
            tasks.add(() -> {
                var rows = cell.rows(cell.play());
                synchronized (this) {
                    done.run();
                }
                return rows;
            });
        return Replay.all(tasks, threads).stream().flatMap(List::stream).toList();
    }

    /**
     * Where the experts of a trace lie.
     *
     * @param ranks 0: one for each group if there are groups, else 8 or as many as divide the experts
     * @param nodes 0: one for each group where ranks allow it, else one
     */
    public static Geometry geometry(Trace trace, int ranks, int nodes) {
        var rule = trace.rule();
        int allRanks = ranks > 0 ? ranks : rule.groups() > 1 ? rule.groups() : defaultRanks(rule.experts());
        int allNodes = nodes > 0 ? nodes : allRanks % rule.groups() == 0 ? rule.groups() : 1;
        return new Geometry(allRanks, allNodes, HIDDEN, TILE);
    }

    private static int defaultRanks(int experts) {
        int ranks = 8;
        while (experts % ranks != 0) ranks--;
        return ranks;
    }
}
