package org.panamoe.cli;

import java.util.Arrays;
import java.util.Comparator;
import java.util.EnumMap;
import java.util.Map;
import java.util.TreeMap;
import org.panamoe.checkpoint.Checkpoint;
import org.panamoe.checkpoint.ModelConfig;
import org.panamoe.checkpoint.TensorSpec;
import org.panamoe.model.Observer;
import org.panamoe.tensor.QuantFormat;
import org.panamoe.tensor.Tensor;
import org.panamoe.tensor.Weight;

/** Counts, while a model runs, which experts are chosen and how many bytes of weights are read. */
final class Traffic implements Observer {
    private final int layers;
    private final long mainBytes;
    private final long mtpBytes;
    private final EnumMap<QuantFormat, Long> formats = new EnumMap<>(QuantFormat.class);
    private final TreeMap<Integer, Layer> moe = new TreeMap<>();
    private boolean decoding;
    private long bytes;

    /** What a layer with experts has seen. */
    private static final class Layer {
        final long expertBytes;
        final long[] load_E;
        long steps;
        long touched;

        Layer(long expertBytes, int E) {
            this.expertBytes = expertBytes;
            load_E = new long[E];
        }

        /** Max load over mean load, less 1 (Wang et al., 2024, "Auxiliary-loss-free load balancing"). */
        double maxVio() {
            long sum = Arrays.stream(load_E).sum();
            return sum == 0 ? 0 : (double) Arrays.stream(load_E).max().orElse(0) * load_E.length / sum - 1;
        }
    }

    Traffic(Checkpoint checkpoint) {
        ModelConfig config = checkpoint.config();
        layers = config.numHiddenLayers();
        long main = 0, mtp = 0;
        for (var spec : TensorSpec.of(config)) {
            long size = 0;
            switch (spec.kind()) {
                // Of the embedding one row is read for each token, and of experts those that are chosen. The MTP
                // module's copies of embedding and head are not used.
                case EMBEDDING -> size = config.tieWordEmbeddings() && !spec.mtp() ? bytes(checkpoint, spec) : 0;
                case HEAD -> size = spec.mtp() ? 0 : bytes(checkpoint, spec);
                case ROUTED_EXPERT -> {
                    if (spec.name().contains(".experts.0."))
                        moe.merge(
                                spec.layer(),
                                new Layer(bytes(checkpoint, spec), config.nRoutedExperts()),
                                (a, b) -> new Layer(a.expertBytes + b.expertBytes, config.nRoutedExperts()));
                }
                case NORM, ATTENTION, DENSE_FFN, ROUTER, SHARED_EXPERT, MTP -> size = bytes(checkpoint, spec);
            }
            boolean head = spec.kind() == TensorSpec.Kind.HEAD || spec.kind() == TensorSpec.Kind.EMBEDDING;
            if (!spec.mtp()) main += size;
            if (spec.mtp() || head) mtp += size;
        }
        mainBytes = main;
        mtpBytes = mtp;
    }

    /** From now on bytes and touched experts are counted: each step reads for one certain token and its drafts. */
    void beginDecoding() {
        decoding = true;
    }

    @Override
    public void afterFeedForward(int layer, Tensor x_TD) {
        if (!decoding) return;
        if (layer == 0) bytes += mainBytes;
        if (layer == layers) bytes += mtpBytes;
    }

    @Override
    public void routed(int layer, int T, float[] score_TE, int[] expert_TK, float[] share_TK) {
        var seen = moe.get(layer);
        if (seen == null) throw new AssertionError("layer " + layer + " has no experts");
        for (int e : expert_TK) seen.load_E[e]++;
        if (!decoding) return;
        long touched = Arrays.stream(expert_TK).distinct().count();
        seen.steps++;
        seen.touched += touched;
        bytes += touched * seen.expertBytes;
    }

    /** Bytes of weights that were read since decoding began; what several rows of a step share counts once. */
    long bytes() {
        return bytes;
    }

    /** Over all rows, those of the prompt and of drafts among them; the mean over layers. */
    double maxVio() {
        return moe.values().stream().mapToDouble(Layer::maxVio).average().orElse(0);
    }

    long deadExperts() {
        return moe.values().stream()
                .mapToLong(layer ->
                        Arrays.stream(layer.load_E).filter(load -> load == 0).count())
                .sum();
    }

    long experts() {
        return moe.values().stream().mapToLong(layer -> layer.load_E.length).sum();
    }

    /** Distinct experts of a layer that a step touches, since decoding began; NaN if there was no step. */
    double touchedPerStep() {
        long steps = moe.values().stream().mapToLong(layer -> layer.steps).sum();
        long touched = moe.values().stream().mapToLong(layer -> layer.touched).sum();
        return (double) touched / steps;
    }

    /** The format that most of the weights have. */
    String weightFormat() {
        return formats.entrySet().stream()
                .max(Map.Entry.comparingByValue(Comparator.naturalOrder()))
                .map(entry -> entry.getKey().name())
                .orElse("none");
    }

    private long bytes(Checkpoint checkpoint, TensorSpec spec) {
        if (!checkpoint.has(spec.name())) return 0;
        long[] shape = spec.shape().stream().mapToLong(Integer::longValue).toArray();
        Weight weight = checkpoint.weight(spec.name(), shape);
        // One routed expert stands for all.
        long alike = spec.kind() == TensorSpec.Kind.ROUTED_EXPERT
                ? checkpoint.config().nRoutedExperts()
                : 1;
        formats.merge(weight.format(), alike * weight.bytes(), Long::sum);
        return weight.bytes();
    }
}
