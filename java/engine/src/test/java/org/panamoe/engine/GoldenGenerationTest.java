package org.panamoe.engine;

import static org.assertj.core.api.Assertions.assertThat;

import java.lang.foreign.Arena;
import java.util.Arrays;
import java.util.Set;
import java.util.stream.IntStream;
import java.util.stream.Stream;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.Arguments;
import org.junit.jupiter.params.provider.MethodSource;
import org.panamoe.backend.Variant;
import org.panamoe.checkpoint.Checkpoint;
import org.panamoe.checkpoint.Golden;
import org.panamoe.model.Model;

/** Greedy continuations and chained drafts of the golden checkpoints. */
final class GoldenGenerationTest {
    static Stream<Arguments> foldersAndBackends() {
        return Stream.of(
                        "v3-tiny-fp32",
                        "v3-tiny-bf16",
                        "v3-tiny-fp8",
                        "v3-tiny-mtp",
                        "v3-tiny-yarn",
                        "v2-lite-tiny",
                        "v2-group-tiny")
                .flatMap(folder -> Variant.all().stream().map(backend -> Arguments.of(folder, backend)));
    }

    @ParameterizedTest
    @MethodSource("foldersAndBackends")
    void greedy(String folder, Variant backend) {
        try (var arena = Arena.ofShared();
                var checkpoint = Checkpoint.open(Golden.folder(folder));
                var kernels = backend.open();
                var model = Model.load(checkpoint, kernels)) {
            var golden = Golden.tensors(folder, arena);
            int[] prompt = Golden.ints(golden.tensor("input_ids"));
            int[] expected = Golden.ints(golden.tensor("greedy"));
            int mostDrafts = model.mtp().isPresent() ? 3 : 0;
            for (int drafts = 0; drafts <= mostDrafts; drafts++)
                try (var engine = new Engine(model, prompt.length + expected.length)) {
                    // The goldens do not stop at the end token.
                    var generation =
                            engine.add(new Request(prompt, expected.length, Set.of(), Sampling.greedy(), drafts));
                    while (engine.step()) {}
                    assertThat(generation.tokens()).as("%d drafts", drafts).isEqualTo(expected);
                    assertThat(generation.status()).isEqualTo(Generation.Status.LENGTH);
                }
        }
    }

    @ParameterizedTest
    @MethodSource("org.panamoe.backend.Variant#all")
    void chainedDrafts(Variant backend) {
        try (var arena = Arena.ofShared();
                var checkpoint = Checkpoint.open(Golden.folder("v3-tiny-mtp"));
                var kernels = backend.open();
                var model = Model.load(checkpoint, kernels);
                var engine = new Engine(model, 64)) {
            var golden = Golden.tensors("v3-tiny-mtp", arena);
            int[] prompt = Golden.ints(golden.tensor("input_ids"));
            var generation = engine.add(new Request(prompt, 16, Set.of(), Sampling.greedy(), 4));
            engine.step();
            assertThat(generation.drafts).isEqualTo(Golden.ints(golden.tensor("mtp.chain_tokens")));
        }
    }

    /** The rows from which the greedy tokens were taken. */
    @ParameterizedTest
    @MethodSource("foldersAndBackends")
    void logitsOfTheContinuation(String folder, Variant backend) {
        try (var arena = Arena.ofShared();
                var checkpoint = Checkpoint.open(Golden.folder(folder));
                var kernels = backend.open();
                var model = Model.load(checkpoint, kernels)) {
            var golden = Golden.tensors(folder, arena);
            int[] prompt = Golden.ints(golden.tensor("input_ids"));
            int[] greedy = Golden.ints(golden.tensor("greedy"));
            float[] expected = Golden.floats(golden.tensor("greedy_logits"));
            int V = model.config().vocabSize();
            int[] all = IntStream.concat(Arrays.stream(prompt), Arrays.stream(greedy, 0, greedy.length - 1))
                    .toArray();
            TeacherForcing.logits(model, all, (position, logit_V) -> {
                int row = position - prompt.length + 1;
                if (row < 0) return;
                for (int v = 0; v < V; v++)
                    // See GoldenModelTest.
                    if (!(Math.abs(logit_V[v] - expected[row * V + v]) <= 2e-4f))
                        throw new AssertionError("row %d, token %d: %s instead of %s"
                                .formatted(row, v, logit_V[v], expected[row * V + v]));
            });
        }
    }
}
