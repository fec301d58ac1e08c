package org.panamoe.cli;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Path;
import java.util.concurrent.Callable;
import org.panamoe.engine.TeacherForcing;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;

@Command(
        name = "logits",
        sortOptions = false,
        header = "Writes the logits of a token sequence, a row for each position.",
        description = "%nThe file is NumPy's: fp32 [T, V].%n")
final class LogitsCommand implements Callable<Integer> {
    @Mixin
    private final ModelOption model = new ModelOption();

    @Option(names = "--tokens", paramLabel = "ID", split = ",", required = true, description = "T token ids.")
    @SuppressWarnings("NullAway.Init") // picocli sets it
    private int[] tokens;

    @Option(names = "--output", paramLabel = "FILE.npy", required = true, description = "The file to write.")
    @SuppressWarnings("NullAway.Init") // picocli sets it
    private Path output;

    @Option(
            names = "--mtp",
            description =
                    "The MTP module's draft logits instead, [T - 1, V]: row i comes from the main model's state at"
                            + " i and token i + 1, and predicts token i + 2.")
    private boolean mtp;

    @Mixin
    private final WeightsOption weights = new WeightsOption();

    @Mixin
    private final BackendOption backend = new BackendOption();

    private final Console console;

    LogitsCommand(Console console) {
        this.console = console;
    }

    @Override
    public Integer call() throws IOException {
        backend.check();
        OutputFile.check(output);
        if (mtp && tokens.length < 2)
            throw new IllegalArgumentException("--mtp wants at least 2 tokens, there is " + tokens.length);
        try (var open = OpenModel.open(model.folder(), weights, backend, console)) {
            open.requireKnown(tokens);
            int rows = mtp ? tokens.length - 1 : tokens.length;
            OutputFile.write(output, out -> {
                try (var progress = new Progress(console, "logits", rows)) {
                    var file = new NumpyFile(out, rows, open.model().config().vocabSize());
                    TeacherForcing.Sink sink = (position, logit_V) -> {
                        write(file, logit_V);
                        progress.step();
                    };
                    if (mtp) TeacherForcing.draftLogits(open.model(), tokens, sink);
                    else TeacherForcing.logits(open.model(), tokens, sink);
                } catch (UncheckedIOException e) {
                    throw e.getCause();
                }
            });
        }
        return 0;
    }

    private static void write(NumpyFile file, float[] logit_V) {
        try {
            file.row(logit_V);
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
    }
}
