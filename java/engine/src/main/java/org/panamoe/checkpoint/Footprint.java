package org.panamoe.checkpoint;

import java.util.EnumMap;
import java.util.Map;
import java.util.function.ToLongFunction;
import org.panamoe.checkpoint.TensorSpec.Kind;
import org.panamoe.tensor.DType;

/**
 * How large a model is, and what one decoded token reads. Weights count as they are stored, block scales included; the
 * MTP modules are counted apart.
 *
 * @param parameters of the main model
 * @param activeParameters those that one token is multiplied with: K of E routed experts, the head, not the embedding
 * @param mtpParameters of the MTP modules, without their copies of embedding and head
 * @param bytes of the main model by kind; everything of the MTP modules under MTP, copies included
 * @param activeBytes of the weights that the main model reads for one token, one row of the embedding among them
 * @param draftBytes of the weights that one draft of an MTP module reads, the head among them; 0 without such a module
 * @param latentBytes one position's row of the latent cache in one layer, in F32
 * @param layers of the main model
 * @param mtpLayers which have latents of their own
 */
public record Footprint(
        long parameters,
        long activeParameters,
        long mtpParameters,
        Map<Kind, Long> bytes,
        long activeBytes,
        long draftBytes,
        long latentBytes,
        int layers,
        int mtpLayers) {
    public Footprint {
        bytes = Map.copyOf(bytes);
    }

    /** Of a checkpoint as it lies there. */
    public static Footprint of(Checkpoint checkpoint) {
        return of(checkpoint.config(), spec -> checkpoint.bytes(spec.name()));
    }

    /** Of a published checkpoint of this config, whose weights that are not quantised are of the given type. */
    public static Footprint of(ModelConfig config, DType unquantized) {
        var quantization = config.quantizationConfig();
        return of(config, spec -> {
            // The correction bias of the router is the only vector that is not a norm, and is kept in F32.
            if (spec.kind() == Kind.ROUTER && spec.shape().size() == 1) return spec.size() * DType.F32.bytes;
            var quantized = quantization == null ? null : spec.quantized(quantization.format());
            if (quantized == null) return spec.size() * unquantized.bytes;
            return quantized.bytes(spec.shape().getFirst(), spec.shape().get(1));
        });
    }

    /** Bytes of all weights. */
    public long weightBytes() {
        return bytes.values().stream().mapToLong(Long::longValue).sum();
    }

    /** Bytes of latent cache that one position takes, those of the MTP modules included. */
    public long cacheBytesPerPosition() {
        return latentBytes * (layers + mtpLayers);
    }

    /** Bytes that the main model reads to decode one token behind {@code depth} others: weights and latents. */
    public long bytesPerToken(long depth) {
        return activeBytes + latentBytes * layers * depth;
    }

    /** Bytes of all weights and of the latents of one context; what a step works in comes on top. */
    public long memory(long context) {
        return weightBytes() + cacheBytesPerPosition() * context;
    }

    private static Footprint of(ModelConfig c, ToLongFunction<TensorSpec> stored) {
        var bytesOf = new EnumMap<Kind, Long>(Kind.class);
        Part main = new Part(), mtp = new Part();
        long embedding = 0, embeddingBytes = 0, headBytes = 0;
        for (TensorSpec spec : TensorSpec.of(c)) {
            long bytes = stored.applyAsLong(spec);
            bytesOf.merge(spec.mtp() ? Kind.MTP : spec.kind(), bytes, Long::sum);
            if (spec.optional()) continue;
            switch (spec.kind()) {
                case EMBEDDING -> {
                    embedding = spec.size();
                    embeddingBytes = bytes;
                }
                case HEAD -> headBytes = bytes;
                case NORM, ATTENTION, DENSE_FFN, ROUTER, ROUTED_EXPERT, SHARED_EXPERT, MTP ->
                    (spec.mtp() ? mtp : main).add(spec, bytes);
            }
        }
        // A tied head is the embedding, stored once and read whole.
        long head = (long) c.vocabSize() * c.hiddenSize();
        if (c.tieWordEmbeddings()) headBytes = embeddingBytes;
        long row = embeddingBytes / c.vocabSize();
        int modules = c.numNextnPredictLayers();
        return new Footprint(
                main.parameters() + embedding + (c.tieWordEmbeddings() ? 0 : head),
                main.active(c) + head,
                mtp.parameters(),
                bytesOf,
                main.activeBytes(c) + row + headBytes,
                modules == 0 ? 0 : mtp.activeBytes(c) / modules + row + headBytes,
                (long) (c.kvLoraRank() + c.qkRopeHeadDim()) * DType.F32.bytes,
                c.numHiddenLayers(),
                modules);
    }

    /** All weights but embedding and head; of the routed experts a token uses K of E. */
    private static final class Part {
        private long always, alwaysBytes, routed, routedBytes;

        void add(TensorSpec spec, long bytes) {
            if (spec.kind() == Kind.ROUTED_EXPERT) {
                routed += spec.size();
                routedBytes += bytes;
            } else {
                always += spec.size();
                alwaysBytes += bytes;
            }
        }

        long parameters() {
            return always + routed;
        }

        long active(ModelConfig c) {
            return always + chosen(routed, c);
        }

        long activeBytes(ModelConfig c) {
            return alwaysBytes + chosen(routedBytes, c);
        }

        private static long chosen(long ofAll, ModelConfig c) {
            return ofAll == 0 ? 0 : ofAll / c.nRoutedExperts() * c.numExpertsPerTok();
        }
    }
}
