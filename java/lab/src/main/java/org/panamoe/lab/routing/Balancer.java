package org.panamoe.lab.routing;

/**
 * A balancing method and its state in one layer. For each batch it chooses, then learns from what it chose, as after an
 * optimizer's step.
 *
 * <p>A new method is one class, and one line in {@link Methods}.
 */
public interface Balancer {
    /** Whether it looks at scores; else at recorded choices. */
    default boolean needsScores() {
        return true;
    }

    /** Fills in who computes what. */
    void route(Batch batch, Choices choices);

    /** Learns from a whole batch that was just routed: what it learns counts from the next one on. */
    default void learn(Batch batch, Choices choices) {}

    /** What is added to the scores of each expert when it chooses; empty if it is nothing. */
    default float[] bias() {
        return new float[0];
    }
}
