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
        name = "prefill",
        sortOptions = false,
        header = "Measures reading prompts, from the first token to the logits of the last one.")
final class BenchPrefillCommand implements Callable<Integer> {
    @Mixin
    private final SliceOptions slice = new SliceOptions();

    @Mixin
    private final BenchOptions options = new BenchOptions();

    @Option(names = "--prompt", paramLabel = "P,..", split = ",", description = "Tokens of a prompt.")
    private List<Integer> prompt = List.of(128);

    private final Console console;

    BenchPrefillCommand(Console console) {
        this.console = console;
    }

    @Override
    public Integer call() throws IOException {
        var work = new ArrayList<Work>();
        for (int b : slice.batch(options))
            for (int p : options.within("--prompt", prompt, 1, 163840)) work.add(new Work.Prefill(b, p));
        var plan = new Plan(
                slice.slice(options), work, options.threads(), options.rounds(), options.seconds(2), slice.profile());
        options.run(console, plan::run);
        return 0;
    }
}
