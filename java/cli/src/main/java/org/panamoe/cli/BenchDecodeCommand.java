package org.panamoe.cli;

import java.io.IOException;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.Callable;
import org.panamoe.bench.Plan;
import org.panamoe.bench.Work;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;

@Command(
        name = "decode",
        sortOptions = false,
        header = "Measures decoding: one token of each sequence in a step, at a fixed depth.",
        description = "%nThe DeepSeek-V3 slice that other engines are given: --shape v3 --layers 2 --experts 64.%n")
final class BenchDecodeCommand implements Callable<Integer> {
    @Mixin
    private final SliceOptions slice = new SliceOptions();

    @Mixin
    private final BenchOptions options = new BenchOptions();

    @Option(
            names = "--depth",
            paramLabel = "D,..",
            split = ",",
            description = "Tokens that each sequence has already; its latents are made up.")
    private List<Integer> depth = List.of(0);

    private final Console console;

    BenchDecodeCommand(Console console) {
        this.console = console;
    }

    @Override
    public Integer call() throws IOException {
        var work = new ArrayList<Work>();
        for (int b : slice.batch(options))
            for (int d : options.within("--depth", depth, 0, 163839)) work.add(new Work.Decode(b, d));
        var plan = new Plan(
                slice.slice(options), work, options.threads(), options.rounds(), options.seconds(2), slice.profile());
        options.run(console, plan::run);
        return 0;
    }
}
