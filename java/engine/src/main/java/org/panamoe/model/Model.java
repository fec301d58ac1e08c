package org.panamoe.model;

import java.lang.foreign.Arena;
import java.util.Optional;
import java.util.stream.IntStream;
import org.jspecify.annotations.Nullable;
import org.panamoe.backend.Kernels;
import org.panamoe.checkpoint.Checkpoint;
import org.panamoe.checkpoint.ModelConfig;
import org.panamoe.tensor.DType;
import org.panamoe.tensor.Tensor;
import org.panamoe.tensor.Weight;

/**
 * A checkpoint that computes. On the host, weights stay where the checkpoint is mapped, so it and the kernels must
 * outlive the model. One caller at a time.
 */
public final class Model implements AutoCloseable {
    /**
     * What a step gives; both are valid until the next step of the same model, or of the same MTP module.
     *
     * @param hidden_TD for each row the state after the final norm, in the memory of the back end
     * @param logits of the sampled rows
     */
    public record Output(Tensor hidden_TD, Logits logits) {}

    final Kernels kernels;
    private final ModelConfig config;
    private final Checkpoint.Hold hold;
    private final Arena arena;
    private final Workspace workspace;
    private final Buffer hidden_TD;
    private final Head head;
    private final Weight embedding_VD;
    private final Layer[] layers;
    private final Weight norm_D;
    private final @Nullable MtpModule mtp;
    private Observer observer = Observer.NOBODY;

    private Model(Weights weights, Kernels kernels, Checkpoint.Hold hold, Arena arena) {
        this.kernels = kernels;
        this.hold = hold;
        this.arena = arena;
        config = weights.config();
        workspace = new Workspace(kernels, config);
        hidden_TD = new Buffer(kernels, DType.F32, config.hiddenSize());
        head = new Head(weights, kernels, workspace);
        embedding_VD = weights.weight("model.embed_tokens.weight", config.vocabSize(), config.hiddenSize());
        layers = IntStream.range(0, config.numHiddenLayers())
                .mapToObj(i -> new Layer(weights, kernels, workspace, arena, i))
                .toArray(Layer[]::new);
        norm_D = weights.weight("model.norm.weight", config.hiddenSize());
        mtp = config.numNextnPredictLayers() == 0
                ? null
                : new MtpModule(weights, kernels, workspace, arena, embedding_VD);
    }

    /**
     * Builds the model. On the host, of the checkpoint only block scales (which are checked) and the routers' biases are
     * read; to a device all weights are copied.
     */
    public static Model load(Checkpoint checkpoint, Kernels kernels) {
        var arena = Arena.ofShared();
        var hold = checkpoint.hold();
        try {
            // Buffers take their memory with the first step: only the arena has any to give back.
            return new Model(new Weights(checkpoint, kernels, arena), kernels, hold, arena);
        } catch (RuntimeException | Error e) {
            hold.close();
            arena.close();
            throw e;
        }
    }

    public ModelConfig config() {
        return config;
    }

    /** What this model computes on, see {@link Kernels#describe}. */
    public String describe() {
        return kernels.describe();
    }

    /** The draft module, if the checkpoint has one. */
    public Optional<MtpModule> mtp() {
        return Optional.ofNullable(mtp);
    }

    /** From now on this one looks on, in the MTP module too. */
    public void observe(Observer observer) {
        this.observer = observer;
        if (mtp != null) mtp.observe(observer);
    }

    /**
     * One step: appends every row to the cache and computes.
     *
     * @throws IllegalArgumentException if a token is not in the vocabulary, a span does not continue its slot, or a slot
     *     lacks room (see {@link LatentCache#reserve})
     */
    public Output forward(Batch batch, LatentCache cache) {
        requireSound(batch, cache, config);
        for (int a = 0; a < batch.A(); a++) {
            int position = batch.position(batch.span(a).from());
            int held = batch.span(a).slot().length();
            if (position != held)
                throw new IllegalArgumentException(
                        "a span starts at position %d, its slot holds %d".formatted(position, held));
        }
        var step = Step.of(batch, cache, workspace, observer);
        var x_TD = workspace.x_TD.rows(step.T());
        kernels.embed(x_TD, embedding_VD, workspace.token_T.fill(step.T(), batch.token_T));
        for (var layer : layers) layer.forward(x_TD, step);
        observer.residual(layers.length, x_TD);
        var hidden = hidden_TD.rows(step.T());
        kernels.rmsNorm(hidden, x_TD, norm_D, config.rmsNormEps());
        var logits = head.forward(batch, hidden);
        cache.advance(batch);
        return new Output(hidden, logits);
    }

    /** What the model and its MTP module ask of every batch. */
    static void requireSound(Batch batch, LatentCache cache, ModelConfig config) {
        cache.requireRoom(batch);
        for (int t = 0; t < batch.T(); t++)
            if (batch.token(t) < 0 || batch.token(t) >= config.vocabSize())
                throw new IllegalArgumentException(
                        "token %d: vocab_size is %d".formatted(batch.token(t), config.vocabSize()));
    }

    /** The bias of a layer's router; empty where the layer has no experts. The MTP module is layer numHiddenLayers. */
    public Optional<float[]> routerBias(int layer) {
        int all = layers.length + (mtp == null ? 0 : 1);
        if (layer < 0 || layer >= all)
            throw new IllegalArgumentException(
                    "layer %d: the model has %d, the MTP module's included".formatted(layer, all));
        var ffn = layer < layers.length ? layers[layer].ffn : mtp().orElseThrow().layer.ffn;
        return switch (ffn) {
            case Ffn.Moe moe -> Optional.of(moe.gate().router().bias());
            case Ffn.Dense dense -> Optional.empty();
        };
    }

    /** Does nothing the second time; if it fails, it may be called again, and goes on where it failed. */
    @Override
    public void close() {
        if (mtp != null) mtp.close();
        head.close();
        hidden_TD.close();
        workspace.close();
        if (arena.scope().isAlive()) arena.close();
        hold.close();
    }
}
