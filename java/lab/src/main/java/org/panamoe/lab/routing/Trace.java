package org.panamoe.lab.routing;

import java.util.List;
import java.util.Optional;
import org.panamoe.backend.GroupLimitedTopK;

/**
 * The routing of many tokens in some layers, recorded or made up. A layer can be read as often as wanted, by several
 * threads at once, and is never held in memory as a whole.
 */
public interface Trace extends AutoCloseable {
    /** Reads one layer from its first token on. */
    interface Reader extends AutoCloseable {
        /**
         * Fills the batch with the next tokens: as many as it has room for, or as are left.
         *
         * @return whether there were any
         */
        boolean next(Batch batch);

        @Override
        default void close() {}
    }

    /**
     * DeepSeek-V3's rule of choice: a group is worth its two best experts together, or the one it has.
     *
     * @throws IllegalArgumentException if the numbers do not fit each other
     */
    static GroupLimitedTopK rule(int experts, int chosen, int groups, int keptGroups) {
        int groupBest = experts > groups ? 2 : 1;
        return new GroupLimitedTopK(experts, chosen, groups, keptGroups, groupBest, false, 1);
    }

    /** What to call it in results. */
    String name();

    /** How many experts there are, how many are chosen, and the groups, as far as they are known. */
    GroupLimitedTopK rule();

    /** The layers with experts, ascending, by the numbers that the model gives them. */
    List<Integer> layers();

    /** Whether there are scores, which a replay needs. */
    boolean hasScores();

    /** Whether there are recorded choices. */
    boolean hasChoices();

    /** The bias with which a layer was recorded, if it is known. */
    default Optional<float[]> bias(int layer) {
        return Optional.empty();
    }

    /**
     * @param seed 0: as recorded; any other decides the order of the sequences, in all layers alike
     * @throws IllegalArgumentException if the trace can be read in its own order only, and the seed asks for another
     */
    Reader read(int layer, long seed);

    @Override
    void close();
}
