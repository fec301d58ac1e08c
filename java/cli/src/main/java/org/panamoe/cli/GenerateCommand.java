package org.panamoe.cli;

import java.io.IOException;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Set;
import java.util.concurrent.Callable;
import org.jspecify.annotations.Nullable;
import org.panamoe.checkpoint.ModelConfig;
import org.panamoe.engine.Engine;
import org.panamoe.engine.Generation;
import org.panamoe.engine.Request;
import org.panamoe.engine.Sampling;
import org.panamoe.text.ChatFormat;
import org.panamoe.text.Tokenizer;
import picocli.CommandLine.Command;
import picocli.CommandLine.Help.Visibility;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;
import picocli.CommandLine.ParameterException;
import picocli.CommandLine.Parameters;
import picocli.CommandLine.Spec;
import tools.jackson.databind.node.JsonNodeFactory;

@Command(
        name = "generate",
        sortOptions = false,
        header = "Continues a prompt.",
        description =
                "%nstdout carries the generated text alone, as it comes; four lines of facts follow on stderr. The same seed"
                        + " gives the same text, whatever the number of drafts and threads.%n")
final class GenerateCommand implements Callable<Integer> {
    @Parameters(
            arity = "0..1",
            paramLabel = "[PROMPT]",
            hideParamSyntax = true,
            description = "The text to continue; BOS comes first.")
    private @Nullable String prompt;

    @Mixin
    private final ModelOption model = new ModelOption();

    @Option(
            names = "--tokens",
            paramLabel = "ID",
            split = ",",
            description = "Token ids instead of a PROMPT, used as they are; the answer is token ids, too.")
    private int @Nullable [] tokens;

    @Option(names = "--chat", description = "PROMPT is a user's message, written in the model's chat format.")
    private boolean chat;

    @Option(names = "--max-tokens", paramLabel = "N", description = "Generate at the most so many tokens.")
    private int maxTokens = 200;

    @Option(names = "--temperature", paramLabel = "X", description = "0 always takes the likeliest token.")
    private float temperature = 0.7f;

    @Option(names = "--top-k", paramLabel = "K", description = "Only the likeliest K tokens; 0 for all.")
    private int topK;

    @Option(names = "--top-p", paramLabel = "P", description = "Only the likeliest tokens that together reach P.")
    private float topP = 0.95f;

    @Option(names = "--seed", paramLabel = "N", description = "Another seed, another text.")
    private long seed;

    @Option(
            names = "--stop",
            paramLabel = "TEXT",
            showDefaultValue = Visibility.NEVER,
            description = "End before this text; may be given several times.")
    private List<String> stops = List.of();

    @Option(
            names = "--drafts",
            paramLabel = "J",
            description =
                    "Tokens that the MTP module drafts for each step; without it 1 where the model has one, else 0.")
    private @Nullable Integer drafts;

    @Mixin
    private final WeightsOption weights = new WeightsOption();

    @Mixin
    private final BackendOption backend = new BackendOption();

    @Option(names = "--json", description = "One JSON object instead of text and facts.")
    private boolean json;

    @Spec
    @SuppressWarnings("NullAway.Init") // picocli sets it
    private CommandSpec command;

    private final Console console;

    GenerateCommand(Console console) {
        this.console = console;
    }

    @Override
    public Integer call() throws IOException {
        var sampling = check();
        var folder = model.folder();
        if (tokens != null) return generate(folder, sampling, null);
        try (var tokenizer = new LoadingTokenizer(folder)) {
            return generate(folder, sampling, tokenizer);
        }
    }

    /** Refuses what no model could make sense of. */
    private Sampling check() {
        backend.check();
        if ((prompt == null) == (tokens == null)) throw wrong("generate wants either a PROMPT or --tokens");
        if (tokens != null && chat) throw wrong("--chat wraps a PROMPT: it does not go with --tokens");
        if (tokens != null && !stops.isEmpty()) throw wrong("--stop looks at text: it does not go with --tokens");
        if (stops.contains("")) throw wrong("--stop: the text is empty");
        if (maxTokens < 1) throw wrong("--max-tokens %d: at least 1".formatted(maxTokens));
        if (drafts != null && drafts < 0) throw wrong("--drafts %d: at least 0".formatted(drafts));
        if (prompt != null && prompt.isEmpty()) throw new IllegalArgumentException("the prompt is empty");
        // The JVM has put U+FFFD for each byte already.
        if (prompt != null && prompt.contains("\uFFFD") && !"UTF-8".equals(System.getProperty("sun.jnu.encoding")))
            throw new IllegalArgumentException(
                    "the prompt cannot be read in this locale: set LC_ALL=C.UTF-8, or another with UTF-8");
        try {
            return new Sampling(temperature, topK, topP, seed);
        } catch (IllegalArgumentException e) {
            throw wrong(Reason.of(e));
        }
    }

    private ParameterException wrong(String message) {
        return new ParameterException(command.commandLine(), message);
    }

    private int generate(Path folder, Sampling sampling, @Nullable LoadingTokenizer loading) throws IOException {
        try (var open = OpenModel.open(folder, weights, backend, console)) {
            var config = open.model().config();
            var tokenizer = loading == null ? null : loading.get();
            int[] ids = tokenizer == null ? tokens() : encode(tokenizer, folder);
            int context = (int) Math.min(config.maxPositionEmbeddings(), (long) ids.length + maxTokens);
            int wanted = drafts != null ? drafts : Math.min(config.numNextnPredictLayers(), 1);
            var request = new Request(ids, maxTokens, stopTokens(config, tokenizer), sampling, wanted);
            var transcript = new Transcript(tokenizer, stops, json ? text -> {} : console::print);
            var traffic = new Traffic(open.checkpoint());
            open.model().observe(traffic);
            try (var engine = new Engine(open.model(), context)) {
                var clock = new Clock();
                var generation = engine.add(request);
                run(engine, generation, transcript, traffic, clock);
                var facts =
                        Facts.of(generation, transcript.tokens().length, ids.length, clock, traffic, open.kernels());
                if (json) console.println(object(ids.length, generation, transcript, facts));
                else facts.lines().forEach(console.err()::println);
            }
            return 0;
        }
    }

    private int[] tokens() {
        if (tokens == null) throw new AssertionError("check() saw to it");
        return tokens;
    }

    private int[] encode(Tokenizer tokenizer, Path folder) {
        String text = String.valueOf(prompt);
        if (!chat) return tokenizer.encodePrompt(text);
        var message = new ChatFormat.Message(ChatFormat.Role.USER, text);
        return tokenizer.encode(ChatFormat.of(folder).prompt(List.of(message)));
    }

    /** What config.json calls the end, and what the tokenizer does, in case they differ. */
    private static Set<Integer> stopTokens(ModelConfig config, @Nullable Tokenizer tokenizer) {
        var ends = new LinkedHashSet<>(config.eosTokenId());
        if (tokenizer != null && tokenizer.eos() != Tokenizer.NONE) ends.add(tokenizer.eos());
        return ends;
    }

    /** A step may give several tokens: they are looked at one by one, so that the text ends where it would without drafts. */
    private static void run(Engine engine, Generation generation, Transcript transcript, Traffic traffic, Clock clock)
            throws IOException {
        int seen = 0;
        while (generation.status() == Generation.Status.RUNNING && engine.step()) {
            int[] all = generation.tokens();
            for (int token : Arrays.copyOfRange(all, seen, all.length)) if (transcript.add(token)) generation.cancel();
            seen = all.length;
            if (generation.steps() > 0 && clock.first(seen)) traffic.beginDecoding();
        }
        clock.stop();
        transcript.end();
    }

    private Object object(int promptTokens, Generation generation, Transcript transcript, Facts facts) {
        var object = JsonNodeFactory.instance.objectNode();
        object.put("prompt_tokens", promptTokens);
        var ids = object.putArray("tokens");
        for (int token : transcript.tokens()) ids.add(token);
        object.put("text", transcript.text());
        object.put("stop_reason", stopReason(generation, transcript));
        object.set("facts", facts.json());
        return object;
    }

    private static String stopReason(Generation generation, Transcript transcript) {
        if (transcript.stopped()) return "stop";
        return switch (generation.status()) {
            case EOS -> "eos";
            case LENGTH -> "length";
            case RUNNING, CANCELLED -> throw new AssertionError(generation.status());
        };
    }
}
