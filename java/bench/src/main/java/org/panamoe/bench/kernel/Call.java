package org.panamoe.bench.kernel;

import java.util.List;
import java.util.function.IntConsumer;
import org.panamoe.tensor.Tensor;

/** A call that is ready to be made, again and again. */
public final class Call {
    private final List<Tensor> results;
    private final int copies;
    private final IntConsumer body;
    private int next;

    /**
     * @param results what the function writes
     * @param copies of what is cold
     * @param body makes the call with the copy whose number it is given
     */
    Call(List<Tensor> results, int copies, IntConsumer body) {
        this.results = List.copyOf(results);
        this.copies = copies;
        this.body = body;
    }

    /** A call of which nothing is cold. */
    Call(List<Tensor> results, Runnable body) {
        this(results, 1, _ -> body.run());
    }

    /** A device has only enqueued it when this returns. */
    public void launch() {
        body.accept(next);
        next = next + 1 == copies ? 0 : next + 1;
    }

    /** In the memory of the back end; not initialised before the first launch. */
    public List<Tensor> results() {
        return results;
    }
}
