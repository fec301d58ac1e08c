package org.panamoe.engine;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Locale;
import java.util.Random;
import java.util.Set;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.TestInstance;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;
import org.junit.jupiter.params.provider.ValueSource;
import org.panamoe.backend.Kernels;
import org.panamoe.backend.Variant;
import org.panamoe.checkpoint.Checkpoint;
import org.panamoe.checkpoint.Golden;
import org.panamoe.model.Batch;
import org.panamoe.model.LatentCache;
import org.panamoe.model.Model;
import org.panamoe.model.Observer;
import org.panamoe.tensor.Tensor;

/** What must hold bit for bit, on the trained model: its drafts stand often enough for every way through a step. */
@TestInstance(TestInstance.Lifecycle.PER_CLASS)
final class PropertiesTest {
    private static final int PROMPTS = Boolean.getBoolean("panamoe.full") ? 200 : 20;
    private static final int NEW_TOKENS = 32;
    private static final Sampling SAMPLED = new Sampling(0.7f, 0, 0.95f, 42);

    private Checkpoint checkpoint;
    private Kernels kernels;
    private Model model;

    @BeforeAll
    void open() {
        checkpoint = Checkpoint.open(Golden.trained());
        kernels = new Variant("cpu", "threads=2").open();
        model = Model.load(checkpoint, kernels);
    }

    @AfterAll
    void close() {
        model.close();
        kernels.close();
        checkpoint.close();
    }

    @ParameterizedTest
    @ValueSource(ints = {1, 2, 3})
    void draftsDoNotChangeTheText(int drafts) {
        int accepted = 0;
        for (int seed = 0; seed < PROMPTS; seed++) {
            int[] prompt = prompt(seed);
            for (var sampling :
                    List.of(Sampling.greedy(), new Sampling(0.7f, 0, 0.95f, seed), new Sampling(1, 40, 1, seed))) {
                int[] without = run(model, prompt, sampling, 0, 256).tokens();
                var with = run(model, prompt, sampling, drafts, 256);
                assertThat(with.tokens()).as("prompt %d, %s", seed, sampling).isEqualTo(without);
                accepted += Arrays.stream(with.accepted()).sum();
            }
        }
        assertThat(accepted).as("drafts that stood").isGreaterThan(PROMPTS);
    }

    @ParameterizedTest
    @ValueSource(ints = {1, 2, 7, 64})
    void aPromptInChunksOfAnySizeGivesTheSameLogits(int chunk) {
        int[] tokens = prompt(100, 150);
        float[][] atOnce = logits(model, tokens, tokens.length);
        assertBitsEqual(logits(model, tokens, chunk), atOnce);
    }

    /** Whole blocks of 256 are expanded, the rest is not, however the prompt is cut. */
    @ParameterizedTest
    @ValueSource(ints = {255, 256, 257, 511})
    void aLongPromptInChunksOfAnySizeGivesTheSameLogits(int length) {
        int[] tokens = prompt(length, length);
        float[][] atOnce = logits(model, tokens, length);
        for (int chunk : new int[] {1, 7, 100, 255, 256, 300}) assertBitsEqual(logits(model, tokens, chunk), atOnce);
    }

    @Test
    void aPromptOfTwoBlocksInChunksOfAnySizeGivesTheSameLogits() {
        try (var longer = Checkpoint.open(Golden.folder("v3-tiny-yarn"));
                var ownModel = Model.load(longer, kernels)) {
            int[] tokens =
                    new Random(600).ints(600, 0, ownModel.config().vocabSize()).toArray();
            float[][] atOnce = logits(ownModel, tokens, 600);
            for (int chunk : new int[] {1, 13, 255, 257, 512}) assertBitsEqual(logits(ownModel, tokens, chunk), atOnce);
        }
    }

    static List<Variant> expanding() {
        return Variant.fast().stream()
                .filter(variant -> variant.name().equals("cpu"))
                .toList();
    }

    @ParameterizedTest
    @MethodSource("expanding")
    void expandedAttentionGivesTheLogitsOfAbsorbedAttention(Variant variant) {
        int[] tokens = prompt(12, 500);
        try (var own = variant.open();
                var ownModel = Model.load(checkpoint, own)) {
            float[][] expanded = logits(ownModel, tokens, 500), absorbed = logits(ownModel, tokens, 500, 0);
            int different = 0;
            for (int t = 0; t < 500; t++) {
                double squares = 0, furthest = 0;
                for (int v = 0; v < absorbed[t].length; v++) {
                    squares += (double) absorbed[t][v] * absorbed[t][v];
                    furthest = Math.max(furthest, Math.abs((double) expanded[t][v] - absorbed[t][v]));
                    if (expanded[t][v] != absorbed[t][v]) different++;
                }
                // Another order of fp32 sums in each of the layers.
                assertThat(furthest / Math.sqrt(squares / absorbed[t].length))
                        .as("row %d", t)
                        .isLessThan(1e-4);
            }
            assertThat(different).as("the forms differ").isPositive();
        }
    }

    @ParameterizedTest
    @ValueSource(ints = {255, 256, 257, 400})
    void chunksDoNotChangeTheTextBehindALongPrompt(int length) {
        int[] prompt = prompt(length, length);
        int[] expected = run(model, prompt, SAMPLED, 0, 512).tokens();
        for (int maxRows : new int[] {1, 50, 255, 300}) {
            assertThat(run(model, prompt, SAMPLED, 0, maxRows).tokens()).isEqualTo(expected);
            assertThat(run(model, prompt, SAMPLED, 2, maxRows).tokens()).isEqualTo(expected);
        }
    }

    @ParameterizedTest
    @ValueSource(ints = {1, 3, 50})
    void chunksDoNotChangeTheText(int maxRows) {
        int[] prompt = prompt(101, 120);
        assertThat(run(model, prompt, SAMPLED, 2, maxRows).tokens())
                .isEqualTo(run(model, prompt, SAMPLED, 0, 256).tokens());
    }

    @Test
    void aBatchGivesWhatItsSequencesGiveAlone() {
        int[][] sequences = {prompt(1, 70), prompt(2, 1), prompt(3, 33), prompt(4, 64), prompt(5, 300), prompt(6, 257)};
        try (var cache = new LatentCache(model, 1024)) {
            var tokens = new ArrayList<Integer>();
            var positions = new ArrayList<Integer>();
            var spans = new ArrayList<Batch.Span>();
            for (int[] sequence : sequences) {
                var slot = cache.open();
                cache.reserve(slot, sequence.length);
                int from = tokens.size();
                for (int t = 0; t < sequence.length; t++) {
                    tokens.add(sequence[t]);
                    positions.add(t);
                }
                spans.add(new Batch.Span(slot, from, tokens.size(), sequence.length, sequence.length));
            }
            var output = model.forward(new Batch(array(tokens), array(positions), spans), cache);
            float[][] together = new float[tokens.size()][model.config().vocabSize()];
            for (int t = 0; t < together.length; t++) output.logits().row(t, together[t]);
            for (int a = 0; a < sequences.length; a++)
                assertBitsEqual(
                        Arrays.copyOfRange(
                                together, spans.get(a).from(), spans.get(a).to()),
                        logits(model, sequences[a], sequences[a].length));
        }
    }

    @Test
    void generationsTogetherGiveWhatTheyGiveAlone() {
        try (var engine = new Engine(model, 1536, 40)) {
            var together = new ArrayList<Generation>();
            for (int seed = 0; seed < 5; seed++)
                together.add(engine.add(new Request(prompt(seed, 5 + 75 * seed), 20, Set.of(1), SAMPLED, seed % 3)));
            while (engine.step()) {}
            for (int seed = 0; seed < 5; seed++)
                try (var alone = new Engine(model, 512)) {
                    var generation = alone.add(new Request(prompt(seed, 5 + 75 * seed), 20, Set.of(1), SAMPLED, 0));
                    while (alone.step()) {}
                    assertThat(together.get(seed).tokens()).isEqualTo(generation.tokens());
                }
        }
    }

    @Test
    void truncateThenReplayIsAsIfNothingHadBeen() {
        int[] tokens = prompt(7, 100);
        float[][] expected = logits(model, tokens, tokens.length);
        try (var cache = new LatentCache(model, 128)) {
            var slot = cache.open();
            cache.reserve(slot, 128);
            int[] wrong = prompt(8, 128);
            var random = new Random(9);
            while (slot.length() < tokens.length) {
                int kept = slot.length();
                // Junk beyond what is kept, forgotten again, then some of the true tokens.
                int[] junk = Arrays.copyOfRange(wrong, kept, Math.min(128, kept + 1 + random.nextInt(20)));
                model.forward(Batch.of(slot, junk, 0), cache);
                cache.truncate(slot, kept);
                int[] part = Arrays.copyOfRange(tokens, kept, Math.min(tokens.length, kept + 1 + random.nextInt(20)));
                var output = model.forward(Batch.of(slot, part, part.length), cache);
                for (int t = 0; t < part.length; t++) {
                    float[] row_V = new float[model.config().vocabSize()];
                    output.logits().row(t, row_V);
                    assertBitsEqual(new float[][] {row_V}, new float[][] {expected[kept + t]});
                }
            }
        }
    }

    @ParameterizedTest
    @MethodSource("org.panamoe.backend.Variant#fast")
    void threadsDoNotChangeALogit(Variant variant) {
        int length = variant.name().equals("cpu") ? 300 : 130; // the emulator takes long, and expands nothing
        int[] tokens = prompt(11, length);
        var threefold = new Variant(variant.name(), variant.options().replaceFirst("threads=\\d", "threads=3"));
        try (var one = variant.open();
                var oneModel = Model.load(checkpoint, one);
                var three = threefold.open();
                var threeModel = Model.load(checkpoint, three)) {
            assertBitsEqual(logits(threeModel, tokens, length), logits(oneModel, tokens, length));
            assertBitsEqual(logits(threeModel, tokens, 1), logits(oneModel, tokens, length));
        }
    }

    /** The engine counts what a reader of the MTP module's logits would count. */
    @Test
    void acceptanceOfTheFirstDraftIsWhatTheDraftLogitsSay() {
        int[] prompt = prompt(20, 10);
        var generation = run(model, prompt, Sampling.greedy(), 1, 256);
        int[] generated = generation.tokens();
        int[] all = concat(prompt, generated);
        int[] draft = new int[all.length + 1]; // draft[i]: what the module says stands at i
        TeacherForcing.draftLogits(model, all, (i, logit_V) -> draft[i + 2] = argmax(logit_V));
        // Walk the text as drafting does: after a certain token comes one draft, if more than one token is still
        // wanted.
        int offered = 0, accepted = 0;
        int next = prompt.length + 1; // the first token was chosen with the prompt
        while (next < all.length) {
            if (next + 1 < all.length) {
                offered++;
                if (draft[next] == all[next]) {
                    accepted++;
                    next++;
                }
            }
            next++;
        }
        assertThat(generation.offered()).containsExactly(offered);
        assertThat(generation.accepted()).containsExactly(accepted);
        assertThat(accepted).isBetween(5, offered);
    }

    @Test
    void stopTokensEndAndDoNotBelong() {
        int[] prompt = prompt(30, 10);
        int[] free = run(model, prompt, Sampling.greedy(), 0, 256).tokens();
        int stop = free[10];
        int first = 0;
        while (free[first] != stop) first++;
        for (int drafts = 0; drafts <= 3; drafts++)
            try (var engine = new Engine(model, 256)) {
                var generation = engine.add(new Request(prompt, NEW_TOKENS, Set.of(stop), Sampling.greedy(), drafts));
                while (engine.step()) {}
                assertThat(generation.status()).isEqualTo(Generation.Status.EOS);
                assertThat(generation.tokens()).isEqualTo(Arrays.copyOf(free, first));
            }
    }

    @Test
    void theContextIsTheEnd() {
        for (int drafts = 0; drafts <= 3; drafts++)
            try (var engine = new Engine(model, 512)) {
                var generation = engine.add(new Request(prompt(40, 500), 100, Set.of(), Sampling.greedy(), drafts));
                while (engine.step()) {}
                assertThat(generation.generated()).isEqualTo(12);
                assertThat(generation.status()).isEqualTo(Generation.Status.LENGTH);
            }
    }

    @Test
    void refusesWhatCannotBe() {
        assertThatThrownBy(() -> new Engine(model, 0)).hasMessage("a cache of 0 positions: not in [1, 2147483583]");
        assertThatThrownBy(() -> request(new int[0])).hasMessage("the prompt is empty");
        try (var engine = new Engine(model, 512)) {
            assertThatThrownBy(() -> engine.add(request(prompt(1, 512))))
                    .hasMessage("the prompt has 512 tokens, the context 512");
            assertThatThrownBy(() -> engine.add(request(new int[] {2048})))
                    .hasMessage("token 2048 of the prompt: vocab_size is 2048");
            assertThatThrownBy(() -> engine.add(request(new int[] {-1})))
                    .hasMessage("token -1 of the prompt: vocab_size is 2048");
            assertThat(engine.step()).isFalse();
        }
    }

    @Test
    void aCancelledGenerationGivesItsRoomBack() {
        try (var engine = new Engine(model, 512)) {
            for (int i = 0; i < 5; i++) {
                var generation = engine.add(new Request(prompt(1, 400), 100, Set.of(), Sampling.greedy(), 1));
                for (int step = 0; step < 4; step++) engine.step();
                generation.cancel();
                assertThat(engine.step()).isFalse();
                assertThat(generation.status()).isEqualTo(Generation.Status.CANCELLED);
            }
        }
    }

    /** Without a step in between, too. */
    @Test
    void aCancelledGenerationGivesItsRoomToTheNext() {
        try (var engine = new Engine(model, 512)) {
            for (int i = 0; i < 5; i++)
                engine.add(new Request(prompt(1, 400), 100, Set.of(), Sampling.greedy(), 1))
                        .cancel();
            assertThat(engine.step()).isFalse();
        }
    }

    @Test
    void aFullCacheIsNoWrongRequest() {
        var request = new Request(prompt(1, 300), 10, Set.of(), Sampling.greedy(), 0);
        try (var engine = new Engine(model, 512)) {
            engine.add(request);
            assertThatThrownBy(() -> engine.add(request))
                    .isExactlyInstanceOf(NoRoomException.class)
                    .hasMessage("no room for 310 positions: 192 of 512 are free");
            while (engine.step()) {}
            assertThat(engine.add(request).status()).isEqualTo(Generation.Status.RUNNING);
        }
    }

    @Test
    void closingAnEngineCancelsWhatRuns() {
        var engine = new Engine(model, 512);
        var generation = engine.add(request(prompt(1)));
        engine.step();
        engine.close();
        engine.close();
        assertThat(generation.status()).isEqualTo(Generation.Status.CANCELLED);
        assertThat(generation.generated()).isEqualTo(1);
        assertThatThrownBy(engine::step)
                .isExactlyInstanceOf(IllegalStateException.class)
                .hasMessage("the engine is closed");
        assertThatThrownBy(() -> engine.add(request(prompt(1))))
                .isExactlyInstanceOf(IllegalStateException.class)
                .hasMessage("the engine is closed");
    }

    @Test
    void aModelLoadsWhereDigitsAreNotAscii() {
        var before = Locale.getDefault();
        Locale.setDefault(Locale.of("ar", "EG"));
        try (var own = Model.load(checkpoint, kernels)) {
            assertThat("%d".formatted(7)).isNotEqualTo("7");
            assertThat(own.mtp()).isPresent();
        } finally {
            Locale.setDefault(before);
        }
    }

    /** A step that throws halfway is as if it had not been. */
    @Test
    void afterAFailureTheStepCanBeTriedAgain() {
        int[] prompt = prompt(3, 20);
        int[] expected = run(model, prompt, SAMPLED, 0, 256).tokens();
        var countdown = new int[] {0};
        try (var own = Model.load(checkpoint, kernels);
                var engine = new Engine(own, 64, 16)) {
            own.observe(new Observer() {
                @Override
                public void afterAttention(int layer, Tensor x_TD) {
                    if (countdown[0]-- == 0) throw new IllegalStateException("no more room on the disk");
                }
            });
            var generation = engine.add(new Request(prompt, NEW_TOKENS, Set.of(1), SAMPLED, 2));
            int failures = 0;
            // Four layers and, for two drafts, twice the MTP module's: the failure wanders through all of them.
            for (boolean more = true; more; ) {
                countdown[0] = failures % 6;
                try {
                    more = engine.step();
                } catch (IllegalStateException e) {
                    failures++;
                    countdown[0] = -1;
                    more = engine.step();
                }
            }
            assertThat(failures).isGreaterThan(11);
            assertThat(generation.tokens()).isEqualTo(expected);
        }
    }

    @Test
    void batchesThatWouldDamageTheCacheAreRefused() {
        try (var cache = new LatentCache(model, 128);
                var other = new LatentCache(model, 64)) {
            var slot = cache.open();
            cache.reserve(slot, 10);
            assertThatThrownBy(() -> model.forward(Batch.of(other.open(), new int[] {1}, 1), cache))
                    .hasMessage("a slot of another cache");
            var twice = List.of(new Batch.Span(slot, 0, 1, 1), new Batch.Span(slot, 1, 2, 1));
            assertThatThrownBy(() -> model.forward(new Batch(new int[2], new int[2], twice), cache))
                    .hasMessage("two spans of a batch have the same slot");
            assertThatThrownBy(() -> model.forward(new Batch(new int[0], new int[0], List.of()), cache))
                    .hasMessage("a batch without rows");
            var unowned = Batch.of(slot, new int[] {1}, 1);
            unowned.row(1, 1);
            assertThatThrownBy(() -> model.forward(unowned, cache)).hasMessage("rows 1 to 2 have no span");
            assertThatThrownBy(() -> model.forward(Batch.of(slot, new int[] {99999}, 1), cache))
                    .hasMessage("token 99999: vocab_size is 2048");
            assertThatThrownBy(() -> cache.reserve(slot, 129))
                    .hasMessage("129 positions of one sequence: the longest is 128");
            assertThatThrownBy(() -> cache.reserve(slot, -5)).hasMessage("cannot reserve -5 positions");
            assertThatThrownBy(() -> new Batch(new int[1], new int[] {-1}, List.of(new Batch.Span(slot, 0, 1, 1))))
                    .hasMessage("row 0 is at position -1");
        }
    }

    /** It takes other rows than the main model, and may stand anywhere: no less can go wrong. */
    @Test
    void theMtpModuleRefusesWhatTheModelRefuses() {
        var mtp = model.mtp().orElseThrow();
        try (var cache = new LatentCache(model, 128)) {
            var slot = cache.open();
            cache.reserve(slot, 10);
            var hidden_TD =
                    model.forward(Batch.of(slot, new int[] {0, 54}, 0), cache).hidden_TD();
            var spans = List.of(new Batch.Span(slot, 0, 2, 1));
            var sound = new Batch(new int[] {54, 85}, new int[] {0, 1}, spans);
            assertThatThrownBy(() -> mtp.forward(sound, hidden_TD, new int[] {0}, cache))
                    .isExactlyInstanceOf(IllegalArgumentException.class)
                    .hasMessage("row_T names 1 rows, the batch has 2");
            assertThatThrownBy(() -> mtp.forward(sound, hidden_TD, new int[] {0, 2}, cache))
                    .isExactlyInstanceOf(IllegalArgumentException.class)
                    .hasMessage("row_T names row 2, hidden_SD is " + hidden_TD);
            assertThatThrownBy(() -> mtp.forward(sound, hidden_TD, new int[] {-1, 0}, cache))
                    .hasMessageStartingWith("row_T names row -1");
            assertThatThrownBy(() -> mtp.forward(
                            new Batch(new int[] {54, 2048}, new int[] {0, 1}, spans), hidden_TD, new int[2], cache))
                    .isExactlyInstanceOf(IllegalArgumentException.class)
                    .hasMessage("token 2048: vocab_size is 2048");
            assertThatThrownBy(() -> mtp.forward(
                            new Batch(new int[] {54, 85}, new int[] {63, 64}, spans), hidden_TD, new int[2], cache))
                    .hasMessage("row for position 64, the slot has room for 64");
            assertThat(mtp.forward(sound, hidden_TD, new int[] {0, 1}, cache)
                            .logits()
                            .rows())
                    .isEqualTo(1);
        }
    }

    @Test
    void aBatchDoesNotChangeWithTheArraysItWasMadeOf() {
        int[] tokens = {0, 54}, positions = {0, 1};
        try (var cache = new LatentCache(model, 64)) {
            var batch = new Batch(tokens, positions, List.of(new Batch.Span(cache.open(), 0, 2, 1)));
            Arrays.fill(tokens, -1);
            Arrays.fill(positions, -1);
            assertThat(batch.T()).isEqualTo(2);
            for (int t = 0; t < 2; t++) {
                assertThat(batch.token(t)).isEqualTo(54 * t);
                assertThat(batch.position(t)).isEqualTo(t);
            }
        }
    }

    @Test
    void rowsAndLayersThatAreNotThereAreRefused() {
        try (var cache = new LatentCache(model, 64)) {
            var slot = cache.open();
            cache.reserve(slot, 2);
            var none = model.forward(Batch.of(slot, new int[] {0}, 0), cache).logits();
            assertThatThrownBy(() -> none.argmax(0))
                    .isExactlyInstanceOf(IllegalArgumentException.class)
                    .hasMessage("row 0: 0 were sampled");
            var one = model.forward(Batch.of(slot, new int[] {54}, 1), cache).logits();
            float[] row_V = new float[model.config().vocabSize()];
            for (int t : new int[] {-1, 1})
                assertThatThrownBy(() -> one.row(t, row_V))
                        .isExactlyInstanceOf(IllegalArgumentException.class)
                        .hasMessage("row %d: 1 were sampled", t);
        }
        for (int layer : new int[] {-1, 5})
            assertThatThrownBy(() -> model.routerBias(layer))
                    .isExactlyInstanceOf(IllegalArgumentException.class)
                    .hasMessage("layer %d: the model has 5, the MTP module's included", layer);
        assertThat(model.routerBias(4)).isPresent();
    }

    /** Drafts of the first must not hold up the others. */
    @Test
    void everyGenerationMovesWhileRowsAreFew() {
        try (var engine = new Engine(model, 256, 4)) {
            var first = engine.add(new Request(prompt(1, 1), 40, Set.of(), Sampling.greedy(), 3));
            var second = engine.add(new Request(prompt(2, 1), 40, Set.of(), Sampling.greedy(), 3));
            for (int step = 0; step < 10; step++) engine.step();
            assertThat(first.generated()).isGreaterThanOrEqualTo(10);
            assertThat(second.generated()).isGreaterThanOrEqualTo(10);
            // Two rows are for the certain tokens, two for drafts: those of the first.
            assertThat(first.offered()[0]).isPositive();
            assertThat(second.offered()[0]).isZero();
        }
    }

    /** Rows for two, which go round. */
    @Test
    void everyGenerationMovesWhereThereAreFewerRowsThanGenerations() {
        try (var engine = new Engine(model, 512, 2)) {
            var generations = new ArrayList<Generation>();
            for (int seed = 0; seed < 4; seed++)
                generations.add(engine.add(new Request(prompt(seed, 1), 40, Set.of(), SAMPLED, seed)));
            for (int step = 0; step < 20; step++) engine.step();
            assertThat(generations).allMatch(generation -> generation.generated() == 10);
            while (engine.step()) {}
            for (int seed = 0; seed < 4; seed++)
                try (var alone = new Engine(model, 64)) {
                    var generation = alone.add(new Request(prompt(seed, 1), 40, Set.of(), SAMPLED, 0));
                    while (alone.step()) {}
                    assertThat(generations.get(seed).tokens()).isEqualTo(generation.tokens());
                }
        }
    }

    @Test
    void aCheckpointStaysOpenWhileAModelUsesIt() {
        try (var own = Checkpoint.open(Golden.trained());
                var ownModel = Model.load(own, kernels)) {
            assertThatThrownBy(own::close).hasMessage("close: a model still uses this checkpoint");
            assertThat(run(ownModel, prompt(1), Sampling.greedy(), 0, 16).generated())
                    .isEqualTo(NEW_TOKENS);
        }
    }

    @Test
    void aFailedAllocationLeavesTheModelUsable() {
        try (var cache = new LatentCache(model, 64)) {
            assertThatThrownBy(() -> new LatentCache(model, 2_000_000_000)).hasMessageContaining("out of memory");
            var slot = cache.open();
            cache.reserve(slot, 2);
            assertThat(model.forward(Batch.of(slot, new int[] {0, 54}, 1), cache)
                            .logits()
                            .rows())
                    .isEqualTo(1);
        }
    }

    @Test
    void nothingIsLeftAllocated() {
        try (var own = new Variant("cpu", "threads=1").open()) {
            for (int i = 0; i < 3; i++)
                try (var ownModel = Model.load(checkpoint, own)) {
                    run(ownModel, prompt(i), SAMPLED, 2, 16);
                    assertThat(own.allocated()).isPositive();
                }
            assertThat(own.allocated()).isZero();
        }
    }

    private static Request request(int[] prompt) {
        return new Request(prompt, 8, Set.of(), Sampling.greedy(), 0);
    }

    private static Generation run(Model model, int[] prompt, Sampling sampling, int drafts, int maxRows) {
        try (var engine = new Engine(model, prompt.length + NEW_TOKENS, maxRows)) {
            var generation = engine.add(new Request(prompt, NEW_TOKENS, Set.of(1), sampling, drafts));
            while (engine.step()) {}
            return generation;
        }
    }

    /** The tokens are a prompt. */
    private static float[][] logits(Model model, int[] tokens, int chunk) {
        return logits(model, tokens, chunk, tokens.length);
    }

    private static float[][] logits(Model model, int[] tokens, int chunk, int prompt) {
        float[][] rows = new float[tokens.length][model.config().vocabSize()];
        try (var cache = new LatentCache(model, tokens.length)) {
            var slot = cache.open();
            cache.reserve(slot, tokens.length);
            for (int from = 0; from < tokens.length; from += chunk) {
                int[] part = Arrays.copyOfRange(tokens, from, Math.min(tokens.length, from + chunk));
                var output = model.forward(Batch.of(slot, part, part.length, prompt), cache);
                for (int t = 0; t < part.length; t++) output.logits().row(t, rows[from + t]);
            }
        }
        return rows;
    }

    private static void assertBitsEqual(float[][] actual, float[][] expected) {
        assertThat(actual).hasDimensions(expected.length, expected[0].length);
        for (int t = 0; t < expected.length; t++)
            for (int v = 0; v < expected[t].length; v++)
                if (Float.floatToRawIntBits(actual[t][v]) != Float.floatToRawIntBits(expected[t][v]))
                    throw new AssertionError(
                            "row %d, token %d: %s instead of %s".formatted(t, v, actual[t][v], expected[t][v]));
    }

    private int[] prompt(int seed) {
        return prompt(seed, 3 + seed % 17);
    }

    /** BOS, then words of the vocabulary; 0 to 7 are special tokens. */
    private int[] prompt(int seed, int length) {
        int[] tokens =
                new Random(seed).ints(length, 8, model.config().vocabSize()).toArray();
        tokens[0] = 0;
        return tokens;
    }

    private static int argmax(float[] values) {
        int best = 0;
        for (int i = 1; i < values.length; i++) if (values[i] > values[best]) best = i;
        return best;
    }

    private static int[] concat(int[] a, int[] b) {
        int[] all = Arrays.copyOf(a, a.length + b.length);
        System.arraycopy(b, 0, all, a.length, b.length);
        return all;
    }

    private static int[] array(List<Integer> values) {
        return values.stream().mapToInt(Integer::intValue).toArray();
    }
}
