package org.panamoe.model;

import static java.lang.foreign.ValueLayout.JAVA_SHORT;

import java.lang.foreign.Arena;
import java.util.Arrays;
import java.util.stream.IntStream;
import org.panamoe.backend.Kernels;
import org.panamoe.backend.LatentPages;
import org.panamoe.backend.Rope;
import org.panamoe.checkpoint.ModelConfig;
import org.panamoe.tensor.Tensor;

/**
 * What attention remembers: for each position and layer (the MTP module's among them) one row of latent and rotated key,
 * in pages of {@value #B} positions that sequences take and give back. A page id means the same page in every layer. Rows
 * are of the back end's {@link Kernels#latentType}.
 */
public final class LatentCache implements AutoCloseable {
    /** Positions in a page. */
    public static final int B = 64;

    /** One sequence's place in the cache: its pages, and how many positions count. */
    public static final class Slot {
        private final LatentCache owner;
        private int[] pages = {};
        private int length;
        /** The last one whose batch this slot was in. */
        private long step;

        private Slot(LatentCache owner) {
            this.owner = owner;
        }

        /** Positions [0, length) are remembered. */
        public int length() {
            return length;
        }
    }

    private final Kernels kernels;
    private final Arena arena = Arena.ofShared();
    private final LatentPages[] pages_L;
    private final Rope rope;
    private final int positions;
    private final int longest;
    private final int[] free;
    private int freeCount;
    private long step;

    /**
     * @param positions how many positions all sequences have together; rounded up to whole pages
     * @throws IllegalArgumentException if there are none, or more than pages can be counted for
     */
    public LatentCache(Model model, int positions) {
        var config = model.config();
        if (positions < 1 || positions > Integer.MAX_VALUE - B)
            throw new IllegalArgumentException(
                    "a cache of %d positions: not in [1, %d]".formatted(positions, Integer.MAX_VALUE - B));
        kernels = model.kernels;
        int pages = Math.ceilDiv(positions, B);
        this.positions = pages * B;
        longest = Math.min(this.positions, config.maxPositionEmbeddings());
        // Lowest ids last, so that they are taken first.
        free = IntStream.range(0, pages).map(i -> pages - 1 - i).toArray();
        freeCount = pages;
        try {
            rope = new Rotary(config).tables(kernels, arena, longest);
            pages_L = allocate(config, pages);
        } catch (RuntimeException | Error e) {
            arena.close();
            throw e;
        }
    }

    public Slot open() {
        return new Slot(this);
    }

    /**
     * Makes room for positions [0, length) of a slot; false, and nothing changed, if not enough pages are free.
     *
     * @throws IllegalArgumentException if one sequence cannot be that long, see {@link #longest}, or length is negative
     */
    public boolean reserve(Slot slot, int length) {
        requireOwn(slot);
        if (length < 0) throw new IllegalArgumentException("cannot reserve %d positions".formatted(length));
        if (length > longest)
            throw new IllegalArgumentException(
                    "%d positions of one sequence: the longest is %d".formatted(length, longest));
        int missing = Math.ceilDiv(length, B) - slot.pages.length;
        if (missing > freeCount) return false;
        if (missing > 0) {
            int held = slot.pages.length;
            slot.pages = Arrays.copyOf(slot.pages, held + missing);
            for (int i = held; i < slot.pages.length; i++) slot.pages[i] = free[--freeCount];
        }
        return true;
    }

    /** Forgets the positions from {@code length} on, in every layer; their pages stay the slot's. */
    public void truncate(Slot slot, int length) {
        requireOwn(slot);
        if (length < 0 || length > slot.length)
            throw new IllegalArgumentException("cannot truncate %d positions to %d".formatted(slot.length, length));
        slot.length = length;
    }

    /**
     * Takes positions [0, length) of a slot for remembered, whatever they are: every page of it gets the same small values.
     * For measuring at a depth that would take long to come to.
     *
     * @throws IllegalArgumentException if the slot has not reserved that many
     */
    public void pretend(Slot slot, int length) {
        requireOwn(slot);
        if (length < 0 || length > slot.pages.length * B)
            throw new IllegalArgumentException(
                    "cannot pretend %d positions, the slot has room for %d".formatted(length, slot.pages.length * B));
        try (var local = Arena.ofConfined()) {
            var any = pages_L[0].pages_SBX();
            var page = Tensor.allocate(local, any.dtype, 1, B, any.dim(2));
            // 2^-6 or so, and its like in BF16; not a zero, which a machine may keep for free.
            for (long at = 0; at < page.data.byteSize(); at += 2) page.data.set(JAVA_SHORT, at, (short) 0x3c80);
            for (var pages : pages_L)
                for (int id : slot.pages) kernels.copy(pages.pages_SBX().rows(id, id + 1), page);
        }
        slot.length = length;
    }

    /** Forgets a sequence; the slot may be used again. */
    public void release(Slot slot) {
        requireOwn(slot);
        for (int i = slot.pages.length - 1; i >= 0; i--) free[freeCount++] = slot.pages[i];
        slot.pages = new int[0];
        slot.length = 0;
    }

    /** Positions that all sequences have together. */
    public int positions() {
        return positions;
    }

    /** Positions that {@link #reserve} can still give; of whole pages. */
    public int freePositions() {
        return freeCount * B;
    }

    /** Positions that one sequence can have: max_position_embeddings, or all there are. */
    public int longest() {
        return longest;
    }

    LatentPages pages(int layer) {
        return pages_L[layer];
    }

    Rope rope() {
        return rope;
    }

    /**
     * For each span the ids of its pages, [A, M] with M the most that one has; rows are filled up with their own first.
     *
     * @param held takes them if it has that size
     */
    int[] table(Batch batch, int[] held) {
        int A = batch.A(), M = 0;
        for (int a = 0; a < A; a++) M = Math.max(M, batch.span(a).slot().pages.length);
        int[] table_AM = held.length == A * M ? held : new int[A * M];
        for (int a = 0; a < A; a++) {
            int[] pages = batch.span(a).slot().pages;
            System.arraycopy(pages, 0, table_AM, a * M, pages.length);
            Arrays.fill(table_AM, a * M + pages.length, (a + 1) * M, pages[0]);
        }
        return table_AM;
    }

    /** Checks that every row of a step has a place. */
    void requireRoom(Batch batch) {
        if (batch.isEmpty()) throw new IllegalArgumentException("a batch without rows");
        int rows = batch.span(batch.A() - 1).to();
        if (rows < batch.T())
            throw new IllegalArgumentException("rows %d to %d have no span".formatted(rows, batch.T()));
        step++;
        for (int a = 0; a < batch.A(); a++) {
            var span = batch.span(a);
            requireOwn(span.slot());
            if (span.slot().step == step) throw new IllegalArgumentException("two spans of a batch have the same slot");
            span.slot().step = step;
            int last = batch.position_T[span.to() - 1];
            // Pages are whole, but the rope's table ends with the longest sequence.
            int room = Math.min(span.slot().pages.length * B, longest);
            if (last >= room)
                throw new IllegalArgumentException(
                        "row for position %d, the slot has room for %d".formatted(last, room));
        }
    }

    /** Remembers that the rows of a step were written. */
    void advance(Batch batch) {
        for (int a = 0; a < batch.A(); a++) {
            var span = batch.span(a);
            span.slot().length = batch.position_T[span.to() - 1] + 1;
        }
    }

    @Override
    public void close() {
        if (arena.scope().isAlive()) arena.close();
    }

    private void requireOwn(Slot slot) {
        if (slot.owner != this) throw new IllegalArgumentException("a slot of another cache");
    }

    private LatentPages[] allocate(ModelConfig config, int pages) {
        int X = config.kvLoraRank() + config.qkRopeHeadDim();
        return IntStream.range(0, layers(config))
                .mapToObj(layer -> new LatentPages(kernels.allocate(arena, kernels.latentType(), pages, B, X)))
                .toArray(LatentPages[]::new);
    }

    private static int layers(ModelConfig config) {
        return config.numHiddenLayers() + config.numNextnPredictLayers();
    }
}
