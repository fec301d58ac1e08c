package org.panamoe.backend;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.List;
import org.jspecify.annotations.Nullable;
import org.panamoe.tensor.DType;
import org.panamoe.tensor.QuantFormat;
import org.panamoe.tensor.Tensor;
import org.panamoe.tensor.Weight;

/**
 * The same matrix of all experts of a layer, each used where it lies: a table of E addresses, and one of their scales.
 * Experts may lie in different shards; all belong to one owner, whose closing ends the table too. Nobody may close it
 * while a call is running: the table holds mere addresses.
 */
public final class ExpertTable {
    /** The experts' own matrices, all [F, D]. */
    public final List<Weight> w_E;

    /** Addresses, I64 [E], in the memory of the back end. */
    final Tensor address_E;

    final @Nullable Tensor scaleAddress_E;

    private final List<MemorySegment.Scope> owners;

    /** Both tables live in {@code arena}. */
    public ExpertTable(Kernels kernels, Arena arena, List<Weight> w_E) {
        if (w_E.isEmpty()) throw new IllegalArgumentException("a table of no experts");
        this.w_E = List.copyOf(w_E);
        var first = w_E.getFirst();
        owners = owners(first);
        for (var w : w_E) {
            if (w.format() != first.format() || w.data().rank() != 2 || F(w) != F(first) || D(w) != D(first))
                throw new IllegalArgumentException("experts differ: %s and %s".formatted(first, w));
            if (!owners(w).equals(owners))
                throw new IllegalArgumentException("experts of one table have different owners");
        }
        for (var w : w_E) {
            requireInReach(kernels.onDevice(), w.data(), w);
            if (w.scale() != null) requireInReach(kernels.onDevice(), w.scale(), w);
        }
        address_E = addresses(kernels, arena, w_E.stream().map(Weight::data).toList());
        scaleAddress_E = first.format().scaled()
                ? addresses(kernels, arena, w_E.stream().map(Weight::scale).toList())
                : null;
    }

    public int E() {
        return w_E.size();
    }

    public int F() {
        return F(w_E.getFirst());
    }

    public int D() {
        return D(w_E.getFirst());
    }

    public QuantFormat format() {
        return w_E.getFirst().format();
    }

    /** "64 x F8_E4M3_B128[2048, 7168]", for messages. */
    @Override
    public String toString() {
        return E() + " x " + w_E.getFirst();
    }

    /** Whether the experts' memory is still there; nothing else tells, since the tables hold mere addresses. */
    boolean alive() {
        for (int i = 0; i < owners.size(); i++) if (!owners.get(i).isAlive()) return false;
        return true;
    }

    /** Addresses are not checked again: what the back end cannot read must not be reached through a table. */
    private static void requireInReach(boolean device, Tensor tensor, Weight expert) {
        if (!tensor.data.isNative())
            throw new IllegalArgumentException(
                    "an expert is %s on the Java heap, which native code cannot see".formatted(expert));
        if (tensor.onDevice() != device)
            throw new IllegalArgumentException(
                    "an expert is %s in the memory of %s, this back end computes in that of %s"
                            .formatted(
                                    expert,
                                    tensor.onDevice() ? "a device" : "the host",
                                    device ? "a device" : "the host"));
    }

    private static List<MemorySegment.Scope> owners(Weight w) {
        var data = w.data().data.scope();
        return w.scale() == null ? List.of(data) : List.of(data, w.scale().data.scope());
    }

    private static int F(Weight w) {
        return w.data().dim(0);
    }

    private static int D(Weight w) {
        return w.columns();
    }

    private static Tensor addresses(Kernels kernels, Arena arena, List<Tensor> tensors) {
        try (var local = Arena.ofConfined()) {
            var host = Tensor.allocate(local, DType.I64, tensors.size());
            for (int e = 0; e < tensors.size(); e++)
                host.data.setAtIndex(
                        ValueLayout.JAVA_LONG, e, tensors.get(e).data.address());
            var table = kernels.allocate(arena, DType.I64, tensors.size());
            kernels.copy(table, host);
            return table;
        }
    }
}
