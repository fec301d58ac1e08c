package org.panamoe.cli;

import java.io.IOException;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import java.util.concurrent.Callable;
import org.jspecify.annotations.Nullable;
import org.panamoe.lab.placement.CaseReader;
import org.panamoe.lab.placement.Eplb;
import org.panamoe.lab.placement.LocalSearch;
import org.panamoe.lab.placement.Placement;
import org.panamoe.lab.placement.PlacementCase;
import picocli.CommandLine.Command;
import picocli.CommandLine.Option;
import tools.jackson.core.JsonGenerator;
import tools.jackson.core.ObjectWriteContext;
import tools.jackson.core.StreamWriteFeature;
import tools.jackson.core.json.JsonFactory;

@Command(
        name = "place",
        sortOptions = false,
        header = "Places experts on GPUs by their load.",
        description = {
            "%nA case is a JSON object: weight (layers x experts), num_replicas, num_groups, num_nodes, num_gpus; a file may"
                    + " have several in a list cases. --json prints one case's phy2log, log2phy (padded with -1), logcnt and"
                    + " gpu_max_over_mean, as EPLB names them.%n",
            "Without it, a line for each case and layer: load of the fullest GPU over the mean with experts as engines"
                    + " start, with EPLB's placement and with that of the local search, and how many experts GPUs must"
                    + " fetch to come from the first to each of the others.%n"
        })
final class BalancePlaceCommand implements Callable<Integer> {
    @Option(names = "--input", paramLabel = "CASE.json", required = true, description = "One case, or several.")
    @SuppressWarnings("NullAway.Init") // picocli sets it
    private Path input;

    @Option(names = "--case", paramLabel = "NAME", description = "The case of that name alone.")
    private @Nullable String name;

    @Option(
            names = "--policy",
            paramLabel = "POLICY",
            defaultValue = "EPLB",
            description = "Of what --json prints: ${COMPLETION-CANDIDATES}.")
    private PlacerOption policy = PlacerOption.EPLB;

    @Option(names = "--json", description = "One JSON object.")
    private boolean json;

    private final Console console;

    BalancePlaceCommand(Console console) {
        this.console = console;
    }

    @Override
    public Integer call() throws IOException {
        var cases = cases();
        if (!json) table(cases);
        else if (cases.size() == 1) print(cases.getFirst());
        else
            throw new IllegalArgumentException(
                    "--json prints one case, but %s has %d: --case says which".formatted(input, cases.size()));
        return 0;
    }

    private List<PlacementCase> cases() throws IOException {
        var cases = CaseReader.read(input);
        if (name == null) return cases;
        var named = cases.stream().filter(c -> c.name.equals(name)).toList();
        if (named.isEmpty())
            throw new IllegalArgumentException("--case %s: %s has %s"
                    .formatted(name, input, cases.stream().map(c -> c.name).toList()));
        return named;
    }

    private void table(List<PlacementCase> cases) throws IOException {
        int width =
                Math.max(4, cases.stream().mapToInt(c -> c.name.length()).max().orElseThrow());
        console.println("%%-%ds  layer  initial     EPLB   search  EPLB moves  search moves"
                .formatted(width)
                .formatted("case"));
        double eplbSum = 0, searchSum = 0;
        int layers = 0, better = 0;
        for (var c : cases) {
            Placement initial = Placement.initial(c), eplb = new Eplb().place(c), search = new LocalSearch().place(c);
            double[] before = initial.maxOverMean(c.weight), greedy = eplb.maxOverMean(c.weight);
            double[] searched = search.maxOverMean(c.weight);
            for (int layer = 0; layer < c.numLayers(); layer++, layers++) {
                console.println(("%-" + width + "s  %5d  %7.4f  %7.4f  %7.4f  %10s  %12s")
                        .formatted(
                                layer == 0 ? c.name : "",
                                layer,
                                before[layer],
                                greedy[layer],
                                searched[layer],
                                layer == 0 ? eplb.movesFrom(initial) : "",
                                layer == 0 ? search.movesFrom(initial) : ""));
                eplbSum += greedy[layer];
                searchSum += searched[layer];
                if (searched[layer] < greedy[layer] * (1 - 1e-9)) better++;
            }
        }
        console.println("mean of %d layers: EPLB %.4f, search %.4f; search is better in %d"
                .formatted(layers, eplbSum / layers, searchSum / layers, better));
    }

    /** As a stream: log2phy of a large case with one hot expert is long. */
    private void print(PlacementCase c) throws IOException {
        var placement = policy.placer().place(c);
        var factory = JsonFactory.builder()
                .disable(StreamWriteFeature.AUTO_CLOSE_TARGET)
                .build();
        try (var out = factory.createGenerator(ObjectWriteContext.empty(), console.out())) {
            out.writeStartObject();
            write(out, "phy2log", placement.phy2log);
            int most = Arrays.stream(placement.logcnt)
                    .flatMapToInt(Arrays::stream)
                    .max()
                    .orElseThrow();
            out.writeArrayPropertyStart("log2phy");
            for (int[][] layer : placement.log2phy) {
                out.writeStartArray();
                for (int[] slots : layer) {
                    int[] padded = Arrays.copyOf(slots, most);
                    Arrays.fill(padded, slots.length, most, -1);
                    out.writeArray(padded, 0, most);
                }
                out.writeEndArray();
            }
            out.writeEndArray();
            write(out, "logcnt", placement.logcnt);
            double[] maxOverMean = placement.maxOverMean(c.weight);
            out.writeName("gpu_max_over_mean");
            out.writeArray(maxOverMean, 0, maxOverMean.length);
            out.writeEndObject();
        }
        console.println("");
    }

    private static void write(JsonGenerator out, String key, int[][] rows) {
        out.writeArrayPropertyStart(key);
        for (int[] row : rows) out.writeArray(row, 0, row.length);
        out.writeEndArray();
    }
}
