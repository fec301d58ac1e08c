package org.panamoe.cli;

import org.panamoe.lab.routing.Comparison;
import org.panamoe.lab.routing.Input;
import org.panamoe.lab.routing.Replay;
import org.panamoe.lab.routing.Trace;
import picocli.CommandLine.Option;

/** Which tokens are routed, and how they are cut into batches. */
final class InputOption {
    @Option(
            names = "--input",
            paramLabel = "TRACE",
            defaultValue = "synthetic",
            description =
                    "A file that panamoe trace wrote (.safetensors), ESFT's recorded choices (.tar.gz), experts that"
                            + " vLLM or SGLang returned (.json, .jsonl), or synthetic:KEY=VALUE,... with experts, chosen, groups,"
                            + " kept, layers, tokens, window, topics, zipf, skew, topic, token, drift, noise, bursts, shift, seed.")
    private String input = "synthetic";

    @Option(
            names = "--groups",
            paramLabel = "KEPT/GROUPS",
            description = "How many groups a token may use, of how many; without it as the trace says.")
    private String groups = "";

    @Option(names = "--experts", paramLabel = "E", description = "Of a file that does not say how many there are.")
    private int experts;

    @Option(names = "--layers", paramLabel = "L", description = "Of a file that does not say how many there are.")
    private int layers;

    @Option(names = "--chosen", paramLabel = "K", description = "Of a file that does not say how many are chosen.")
    private int chosen;

    @Option(
            names = "--batch",
            paramLabel = "TOKENS",
            defaultValue = "2048",
            description = "Tokens after which a method learns.")
    private int batch = 2048;

    @Option(
            names = "--computation-batch",
            paramLabel = "TOKENS",
            description = "Tokens that are computed at once, on all ranks together; without it the batch.")
    private int computationBatch;

    @Option(
            names = "--epochs",
            paramLabel = "N",
            defaultValue = "1",
            description = "How often the trace is played; the last time is measured.")
    private int epochs = 1;

    @Option(
            names = "--warm-up",
            paramLabel = "BATCHES",
            defaultValue = "0",
            description = "Batches, from the very first on, that are not measured.")
    private int warmUp;

    @Option(
            names = "--ranks",
            paramLabel = "R",
            description = "Devices that experts are spread over; without it one for each group, or 8.")
    private int ranks;

    @Option(
            names = "--nodes",
            paramLabel = "N",
            description = "Machines that ranks are spread over; without it one for each group, or one.")
    private int nodes;

    @Option(names = "--threads", paramLabel = "N", description = "Default: all processors. Changes no result.")
    private int threads = Runtime.getRuntime().availableProcessors();

    String text() {
        return input;
    }

    int experts() {
        return experts;
    }

    Input input() {
        return Input.of(input);
    }

    Trace open(Input opened) {
        return Input.regroup(opened.open(new Input.Sizes(experts, layers, chosen)), groups);
    }

    Replay replay(Trace trace) {
        int atOnce = computationBatch == 0 ? batch : computationBatch;
        return new Replay(trace, Comparison.geometry(trace, ranks, nodes), batch, atOnce, epochs, warmUp);
    }

    int threads() {
        if (threads < 1) throw new IllegalArgumentException("--threads %d: at least 1".formatted(threads));
        return threads;
    }
}
