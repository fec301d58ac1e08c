package org.panamoe.bench;

import java.util.stream.IntStream;
import org.panamoe.checkpoint.Footprint;
import org.panamoe.checkpoint.ModelConfig;
import org.panamoe.checkpoint.TensorSpec;
import org.panamoe.model.Batch;

/** What a model is asked to do again and again, always at the same depth. */
public sealed interface Work {
    /** One token for each of {@code batch} sequences, behind {@code depth} others of each. */
    record Decode(int batch, int depth) implements Work {
        @Override
        public int rows() {
            return batch;
        }

        @Override
        public int positions() {
            return depth + 1;
        }

        @Override
        public String toString() {
            return "decode";
        }
    }

    /** Prompts of {@code prompt} tokens from the beginning, side by side; logits of each one's last token. */
    record Prefill(int batch, int prompt) implements Work {
        @Override
        public int rows() {
            return batch * prompt;
        }

        @Override
        public int positions() {
            return prompt;
        }

        @Override
        public String toString() {
            return "prefill";
        }
    }

    int batch();

    /** "decode 8 at 4096", "prefill 128". */
    default String description() {
        String what = switch (this) {
            case Decode decode -> "%d at %d".formatted(decode.batch, decode.depth);
            case Prefill prefill -> prefill.batch == 1 ? "" + prefill.prompt : prefill.batch + " x " + prefill.prompt;
        };
        return this + " " + what;
    }

    /** Tokens of one step. */
    int rows();

    /** That a sequence has at the end of a step. */
    int positions();

    /**
     * Multiplications and additions of one step: every weight of the model for each token (the head for the sampled ones),
     * and for each head and position that a token sees 2 (C + R) + 2 C, as attention is absorbed, or 2 (P + R) + 2 U for
     * those of a prompt where it is expanded. That expands a position once, though a long prompt's steps each do it anew.
     */
    default double flops(ModelConfig config, Footprint footprint) {
        double head = (double) config.vocabSize() * config.hiddenSize();
        double weights = 2 * ((footprint.activeParameters() - head) * rows() + head * batch());
        int H = config.numAttentionHeads(), R = config.qkRopeHeadDim();
        double absorbed = 2.0 * H * (2 * config.kvLoraRank() + R);
        double expanded = 2.0 * H * (config.qkNopeHeadDim() + R + config.vHeadDim());
        long last = positions(), first = last - rows() / batch() + 1, middle = 0;
        if (this instanceof Prefill) middle = Batch.expanded(positions());
        double attention = absorbed * keys(Math.max(first, middle + 1), last) + expanded * keys(first, middle);
        return weights + config.numHiddenLayers() * batch() * attention;
    }

    /** What tokens see that see first, first + 1, .. last positions. */
    private static double keys(long first, long last) {
        return first > last ? 0 : (last - first + 1) * (first + last) / 2.0;
    }

    /**
     * Bytes that one step reads at least: weights and scales of what it is multiplied with, of experts those that are
     * chosen, once each; and the latents of every sequence once.
     *
     * @param experts chosen ones of all layers, each counted once
     */
    default double bytes(ModelConfig config, Footprint footprint, long experts) {
        int moe = (int) IntStream.range(0, config.numHiddenLayers())
                .filter(config::isMoe)
                .count();
        double expertBytes = moe == 0
                ? 0
                : (double) footprint.bytes().getOrDefault(TensorSpec.Kind.ROUTED_EXPERT, 0L)
                        / ((long) moe * config.nRoutedExperts());
        double fixed = footprint.activeBytes() - moe * config.numExpertsPerTok() * expertBytes;
        return fixed
                + experts * expertBytes
                + (double) footprint.latentBytes() * config.numHiddenLayers() * batch() * positions();
    }
}
