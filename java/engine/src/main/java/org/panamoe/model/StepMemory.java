package org.panamoe.model;

import org.panamoe.checkpoint.ModelConfig;
import org.panamoe.tensor.DType;

/**
 * What a model works in on the CPU beside its weights and latents, in bytes, at most: activations, which all layers use
 * in turn, logits, tables, and what the context of the back end keeps for its next call. The JVM's own memory comes on
 * top.
 *
 * @param tables of experts' addresses, routers' biases and offsets
 * @param row activations of one row of a step
 * @param sampled of one row that has logits, in the main model and in the MTP module
 * @param position of one position that a sequence has room for
 * @param laid of one row of a step that products lay beside its like, or turn into codes
 * @param products of one row of a step, which wait to be added up
 * @param thread of one thread
 */
public record StepMemory(long tables, long row, long sampled, long position, long laid, long products, long thread) {
    /** The most for the rows that are laid, and for products: kRoomBytes in kernels/cpu/products.hpp. */
    private static final long ROOM = 64 << 20;
    /** Each thread's kScratchBytes and kTileBytes: native/src/cpu_context.hpp. */
    private static final long SCRATCH = (256 + 16) << 10;
    /** Above kExpandedRows + kKeyStride and kExpandedRows + kExpandedPositions (kernels/cpu/isa.hpp). */
    private static final long EXPANDED = 1024;
    /** By so many floats rows may be longer than their values, so that they begin in different sets of a cache. */
    private static final long PADDING = 32;

    public static StepMemory of(ModelConfig c) {
        long D = c.hiddenSize(),
                H = c.numAttentionHeads(),
                Q = c.qLoraRank(),
                C = c.kvLoraRank(),
                R = c.qkRopeHeadDim();
        long P = c.qkNopeHeadDim(), U = c.vHeadDim(), E = c.nRoutedExperts(), K = c.numExpertsPerTok();
        long dense = c.intermediateSize(), expert = c.moeIntermediateSize(), shared = c.nSharedExperts() * expert;
        boolean mtp = c.numNextnPredictLayers() > 0;
        // The state, normed and final; in the MTP module the final one, and two parts, apart and side by side.
        long states = (mtp ? 8 : 3) * D;
        long attention = Q + H * (P + R) + H * (C + R) + (C + R) + H * C + H * U;
        // Scores; expert, share, token and weight of each that is chosen; token, position, request and two indices.
        long routing = E + 4 * K + 5;
        // For each layer three matrices of each expert, of a shared one and o_proj, each with its scales.
        long layers = (long) c.numHiddenLayers() + c.numNextnPredictLayers();
        long addresses = layers * 2 * (3 * (E + 1) + 1);
        long widest = Math.max(Math.max(D, Q), Math.max(Math.max(dense, shared), H * U));
        return new StepMemory(
                addresses * DType.I64.bytes + floats(layers * E + E + 3),
                floats(states + attention + routing + dense + shared + K * expert),
                floats((mtp ? 2L : 1L) * c.vocabSize() + D),
                floats(R) + 1, // cosines and sines; a page's place in the table
                floats(Math.max(K * (Math.max(D, expert) + PADDING), widest + PADDING)),
                floats(Math.max(K, 1) * D),
                SCRATCH + floats(EXPANDED * (P + R + U + 2 * PADDING)));
    }

    /**
     * @param rows of the largest step
     * @param sampled of those, the rows that have logits
     * @param positions of all sequences together
     * @param threads of the back end
     */
    public long bytes(int rows, int sampled, long positions, int threads) {
        return allocated(rows, sampled, positions)
                + Math.min(ROOM, laid * rows)
                + Math.min(ROOM, products * rows)
                + thread * threads;
    }

    /** That part of it which the model asks the back end for. */
    long allocated(int rows, int sampled, long positions) {
        return tables + row * rows + this.sampled * sampled + position * positions;
    }

    private static long floats(long n) {
        return n * DType.F32.bytes;
    }
}
