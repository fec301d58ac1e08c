package org.panamoe.model;

import java.util.Arrays;
import java.util.List;
import org.panamoe.backend.Rows;
import org.panamoe.tensor.Tensor;

/**
 * What every layer needs to know about the rows of one step.
 *
 * @param stretches of the rows where some are attended to expanded; else empty
 * @param offset_11 0 and T: all rows belong to one expert
 */
record Step(int T, Rows rows, List<Batch.Stretch> stretches, Tensor offset_11, LatentCache cache, Observer observer) {
    static Step of(Batch batch, LatentCache cache, Workspace workspace, Observer observer) {
        int T = batch.T(), A = batch.A();
        if (workspace.hostRequest_T.length < T) workspace.hostRequest_T = new int[T];
        for (int a = 0; a < A; a++)
            Arrays.fill(
                    workspace.hostRequest_T, batch.span(a).from(), batch.span(a).to(), a);
        workspace.hostTable_AM = cache.table(batch, workspace.hostTable_AM);
        workspace.hostOffset_11[1] = T;
        var rows = new Rows(
                workspace.table(A),
                workspace.request_T.fill(T, workspace.hostRequest_T),
                workspace.position_T.fill(T, batch.position_T));
        var stretches = batch.expands() ? batch.stretches() : List.<Batch.Stretch>of();
        var offset_11 = workspace.offset_11.fill(2, workspace.hostOffset_11);
        return new Step(T, rows, stretches, offset_11, cache, observer);
    }
}
