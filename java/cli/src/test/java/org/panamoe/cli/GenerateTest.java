package org.panamoe.cli;

import static org.assertj.core.api.Assertions.assertThat;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.stream.IntStream;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.Arguments;
import org.junit.jupiter.params.provider.MethodSource;
import org.junit.jupiter.params.provider.ValueSource;
import org.panamoe.text.Tokenizer;

class GenerateTest {
    private static final String PROMPT = "Once upon a time";

    static Stream<Arguments> goldenAndDrafts() {
        return Golden.all().flatMap(golden -> IntStream.range(0, 4).mapToObj(j -> Arguments.of(golden, j)));
    }

    @ParameterizedTest
    @MethodSource("goldenAndDrafts")
    void continuesAsGolden(Golden golden, int drafts) {
        var answer = Run.json(
                "generate", golden.prompt(), "--temperature", "0", "--drafts", "" + drafts, "--max-tokens", "40");
        assertThat(answer.path("prompt_tokens").asInt()).isEqualTo(golden.promptTokens().length);
        assertThat(Golden.ints(answer.path("tokens"))).isEqualTo(golden.tokens());
        assertThat(answer.path("text").asString()).isEqualTo(golden.text());
        assertThat(answer.path("stop_reason").asString()).isEqualTo("length");
    }

    @Test
    void referenceContinuesAsGolden() {
        var golden = Golden.all().findFirst().orElseThrow();
        var answer = Run.json(
                "generate", golden.prompt(), "--temperature", "0", "--max-tokens", "8", "--backend", "reference");
        assertThat(Golden.ints(answer.path("tokens"))).isEqualTo(Arrays.copyOf(golden.tokens(), 8));
    }

    @Test
    void sampledTextHangsOnTheSeedAlone() {
        var texts = new ArrayList<String>();
        for (int drafts = 0; drafts <= 3; drafts++)
            texts.add(text("generate", PROMPT, "--seed", "7", "--max-tokens", "40", "--drafts", "" + drafts));
        texts.add(text("generate", PROMPT, "--seed", "7", "--max-tokens", "40", "--threads", "1"));
        assertThat(texts).containsOnly(texts.getFirst());
        assertThat(text("generate", PROMPT, "--seed", "8", "--max-tokens", "40"))
                .isNotEqualTo(texts.getFirst());
    }

    /** The text ends where the stop string would begin, and the tokens with the one that completes it. */
    @ParameterizedTest
    @ValueSource(ints = {0, 1, 3})
    void stopsExactly(int drafts) {
        String[] greedy = {"generate", PROMPT, "--temperature", "0", "--max-tokens", "40", "--drafts", "" + drafts};
        var whole = Run.json(greedy);
        String text = whole.path("text").asString();
        int[] tokens = Golden.ints(whole.path("tokens"));
        for (String stop :
                List.of(" other", "ntre of", " two others were", ",", "b", text.substring(text.length() - 3))) {
            var cut = Run.json(Stream.concat(Stream.of(greedy), Stream.of("--stop", "never said", "--stop", stop))
                    .toArray(String[]::new));
            assertThat(cut.path("text").asString()).as(stop).isEqualTo(text.substring(0, text.indexOf(stop)));
            assertThat(cut.path("stop_reason").asString()).isEqualTo("stop");
            int[] kept = Golden.ints(cut.path("tokens"));
            assertThat(kept).as(stop).isEqualTo(Arrays.copyOf(tokens, kept.length));
            assertThat(decoded(kept)).as(stop).contains(stop);
            assertThat(decoded(Arrays.copyOf(kept, kept.length - 1))).doesNotContain(stop);
        }
    }

    private static String decoded(int[] tokens) {
        try (var tokenizer = Tokenizer.open(ModelOption.embedded())) {
            return tokenizer.decode(tokens);
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
    }

    @Test
    void tokensAreUsedAsTheyAreAndAnsweredByTokens() {
        var golden = Golden.all().findFirst().orElseThrow();
        String[] args = {"generate", "--tokens", golden.ids(), "--temperature", "0", "--max-tokens", "5"};
        var answer = Run.json(args);
        int[] five = Arrays.copyOf(golden.tokens(), 5);
        assertThat(answer.path("text").isNull()).isTrue();
        assertThat(Golden.ints(answer.path("tokens"))).isEqualTo(five);
        assertThat(Run.good(args).out()).isEqualTo(Golden.ids(five) + "\n");
        var withoutBos = Run.json("generate", "--tokens", "54,85", "--temperature", "0", "--max-tokens", "5");
        assertThat(withoutBos.path("prompt_tokens").asInt()).isEqualTo(2);
    }

    @Test
    void stdoutIsTheTextAndStderrFourLines() {
        var golden = Golden.all().findFirst().orElseThrow();
        var run = Run.good("generate", golden.prompt(), "--temperature", "0", "--max-tokens", "40");
        assertThat(run.out()).isEqualTo(golden.text() + "\n");
        assertThat(run.err().lines().map(line -> line.split(" ", 2)[0]))
                .containsExactly("speed", "routing", "drafts", "machine");
    }

    @Test
    void factsAddUp() {
        var facts = Run.json("generate", PROMPT, "--temperature", "0", "--max-tokens", "40")
                .path("facts");
        var speed = facts.path("speed");
        for (String rate :
                List.of("prompt_tokens_per_second", "generated_tokens_per_second", "memory_bytes_per_second"))
            assertThat(speed.path(rate).asDouble()).as(rate).isPositive();
        assertThat(speed.path("share_of_memory_bandwidth").asDouble())
                .isEqualTo(speed.path("bytes_per_second").asDouble()
                        / speed.path("memory_bytes_per_second").asDouble());
        // All weights are 10.2 MB; a step with a draft reads at most all of them and the head once more.
        assertThat(speed.path("bytes_per_token").asDouble()).isBetween(1e6, 11e6);
        var drafts = facts.path("drafts");
        // 21 drafted, 18 accepted: the count of the implementation that made the golden file.
        assertThat(drafts.path("first_offered").asInt()).isEqualTo(21);
        assertThat(drafts.path("first_accepted").asInt()).isEqualTo(18);
        assertThat(drafts.path("first_acceptance").asDouble()).isEqualTo(18.0 / 21);
        var routing = facts.path("routing");
        assertThat(routing.path("experts").asInt()).isEqualTo(4 * 16);
        assertThat(routing.path("experts_per_step_and_layer").asDouble()).isBetween(4.0, 8.0);
        assertThat(routing.path("max_vio").asDouble()).isBetween(0.0, 3.0); // one expert in every choice: 16 / 4 - 1
        var machine = facts.path("machine");
        assertThat(machine.path("backend").asString()).isEqualTo("cpu");
        assertThat(machine.path("weights").asString()).isEqualTo("BF16");
        assertThat(machine.path("threads").asInt()).isPositive();
    }

    @Test
    void aFullContextEndsTheText() {
        var answer =
                Run.json("generate", "--tokens", "0" + ",54".repeat(509), "--temperature", "0", "--max-tokens", "200");
        assertThat(answer.path("stop_reason").asString()).isEqualTo("length");
        assertThat(answer.path("tokens").size()).isEqualTo(2);
    }

    /** A config that calls a token of the golden text the end; it comes as a draft too, and is no part of the answer. */
    @ParameterizedTest
    @ValueSource(ints = {0, 1, 2, 3})
    void endsAtEos(int drafts, @TempDir Path folder) throws IOException {
        var golden = Golden.all().findFirst().orElseThrow();
        int end = golden.tokens()[15];
        int first = Arrays.stream(golden.tokens()).boxed().toList().indexOf(end);
        Files.copy(ModelOption.embedded().resolve("model.safetensors"), folder.resolve("model.safetensors"));
        String config = Files.readString(ModelOption.embedded().resolve("config.json"));
        Files.writeString(
                folder.resolve("config.json"),
                config.replace("\"eos_token_id\": 1,", "\"eos_token_id\": " + end + ","));
        var answer = Run.json(
                "generate",
                "--tokens",
                golden.ids(),
                "--temperature",
                "0",
                "--max-tokens",
                "40",
                "--drafts",
                "" + drafts,
                "--model",
                folder.toString());
        assertThat(answer.path("stop_reason").asString()).isEqualTo("eos");
        assertThat(Golden.ints(answer.path("tokens"))).isEqualTo(Arrays.copyOf(golden.tokens(), first));
    }

    @Test
    void chatWrapsThePrompt() {
        var answer = Run.json("generate", "Hello", "--chat", "--temperature", "0", "--max-tokens", "5");
        var plain = Run.json("generate", "Hello", "--temperature", "0", "--max-tokens", "5");
        // BOS is in both; the chat format adds its marks for user and assistant.
        assertThat(answer.path("prompt_tokens").asInt())
                .isGreaterThan(plain.path("prompt_tokens").asInt());
    }

    private static String text(String... args) {
        return Run.json(args).path("text").asString();
    }
}
