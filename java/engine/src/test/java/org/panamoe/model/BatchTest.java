package org.panamoe.model;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.panamoe.backend.Variant;
import org.panamoe.checkpoint.Checkpoint;
import org.panamoe.checkpoint.Golden;
import org.panamoe.model.Batch.Span;
import org.panamoe.model.Batch.Stretch;

/** Which rows of a step are expanded. */
final class BatchTest {
    @Test
    void rowsOfWholeBlocksOfAPromptAreExpanded() {
        assertThat(stretches(0, 255, 255)).containsExactly(new Stretch(0, 255, false));
        assertThat(stretches(0, 256, 256)).containsExactly(new Stretch(0, 256, true));
        assertThat(stretches(0, 257, 257)).containsExactly(new Stretch(0, 256, true), new Stretch(256, 257, false));
        assertThat(stretches(0, 300, 0)).containsExactly(new Stretch(0, 300, false));
    }

    @Test
    void whereverThePromptIsCut() {
        assertThat(stretches(500, 100, 600)).containsExactly(new Stretch(0, 12, true), new Stretch(12, 100, false));
        assertThat(stretches(300, 100, 600)).containsExactly(new Stretch(0, 100, true));
        assertThat(stretches(512, 88, 600)).containsExactly(new Stretch(0, 88, false));
        assertThat(stretches(600, 3, 600)).containsExactly(new Stretch(0, 3, false)); // generated, and drafts
    }

    @Test
    void sequencesSideBySideShareAStretch() {
        withSlots((a, b, c) -> {
            int[] position_T = new int[6];
            Arrays.setAll(position_T, t -> t < 2 ? 255 + t : t < 4 ? t : 90 + t);
            var spans = List.of(new Span(a, 0, 2, 0, 256), new Span(b, 2, 4, 2), new Span(c, 4, 6, 0, 512));
            assertThat(new Batch(new int[6], position_T, spans).stretches())
                    .containsExactly(new Stretch(0, 1, true), new Stretch(1, 4, false), new Stretch(4, 6, true));
        });
    }

    @Test
    void aClearedBatchIsAsANewOne() {
        withSlots((a, b, c) -> {
            var batch = new Batch(
                    new int[12], new int[] {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11}, List.of(new Span(a, 0, 12, 3)));
            assertThat(batch.sampled()).isEqualTo(3);
            batch.clear();
            assertThat(batch.isEmpty()).isTrue();
            assertThatThrownBy(() -> batch.token(0)).isInstanceOf(IndexOutOfBoundsException.class);
            assertThatThrownBy(() -> batch.span(0)).isInstanceOf(IndexOutOfBoundsException.class);
            batch.row(5, 7);
            batch.row(6, 8);
            batch.span(b, 1, 0);
            batch.row(7, 3);
            batch.span(a, 0, 9);
            assertThat(batch.T()).isEqualTo(3);
            assertThat(batch.A()).isEqualTo(2);
            assertThat(batch.span(0)).isEqualTo(new Span(b, 0, 2, 1));
            assertThat(batch.span(1)).isEqualTo(new Span(a, 2, 3, 0, 9));
            assertThat(batch.token(1)).isEqualTo(6);
            assertThat(batch.position(2)).isEqualTo(3);
            assertThat(batch.sampled()).isEqualTo(1);
            assertThat(batch.sampledRows[0]).isEqualTo(1);
        });
    }

    @Test
    void rowsOfASpanAscend() {
        withSlots((a, b, c) -> {
            var batch = new Batch();
            assertThatThrownBy(() -> batch.span(a, 0, 0)).hasMessage("a span of rows [0, 0) samples 0");
            batch.row(0, 4);
            batch.row(0, 6);
            assertThatThrownBy(() -> batch.span(a, 0, 0)).hasMessage("row 0 is at position 4, row 1 at 6");
        });
    }

    @Test
    void aPromptIsNotLessThanNothing() {
        withSlots((a, b, c) -> assertThatThrownBy(() -> new Span(a, 0, 1, 0, -1))
                .isInstanceOf(IllegalArgumentException.class)
                .hasMessage("a prompt of -1 tokens"));
    }

    private static List<Stretch> stretches(int position, int rows, int prompt) {
        var stretches = new ArrayList<Stretch>();
        withSlots((a, b, c) -> {
            int[] position_T = new int[rows];
            Arrays.setAll(position_T, t -> position + t);
            var batch = new Batch(new int[rows], position_T, List.of(new Span(a, 0, rows, 0, prompt)));
            stretches.addAll(batch.stretches());
        });
        return stretches;
    }

    private interface Slots {
        void use(LatentCache.Slot a, LatentCache.Slot b, LatentCache.Slot c);
    }

    private static void withSlots(Slots slots) {
        try (var checkpoint = Checkpoint.open(Golden.folder("v3-tiny-fp32"));
                var kernels = new Variant("cpu", "").open();
                var model = Model.load(checkpoint, kernels);
                var cache = new LatentCache(model, 64)) {
            slots.use(cache.open(), cache.open(), cache.open());
        }
    }
}
