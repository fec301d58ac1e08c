package org.panamoe.model;

import org.panamoe.tensor.Tensor;

/** Looks on while a model computes. What it is given is valid during the call only, and never changed by it. */
public interface Observer {
    /** Looks at nothing, so that nothing need be brought back from a device. */
    Observer NOBODY = new Observer() {
        @Override
        public boolean looks() {
            return false;
        }
    };

    /** Whether routing has to be brought back from a device for this one. */
    default boolean looks() {
        return true;
    }

    /** The residual stream, in the memory of the back end: the embedding for layer 0, else what layer - 1 left. The MTP
     * module, layer numHiddenLayers, begins with its own.
     */
    default void residual(int layer, Tensor x_TD) {}

    /** The residual stream with what attention added to it. */
    default void afterAttention(int layer, Tensor x_TD) {}

    /** The residual stream with what the feed-forward part, dense or experts, added to it. */
    default void afterFeedForward(int layer, Tensor x_TD) {}

    /**
     * The routing of a layer with experts; the MTP module is layer numHiddenLayers.
     *
     * @param score_TE after the sigmoid or softmax, before the bias
     * @param expert_TK the chosen experts, best first
     * @param share_TK their shares
     */
    default void routed(int layer, int T, float[] score_TE, int[] expert_TK, float[] share_TK) {}
}
