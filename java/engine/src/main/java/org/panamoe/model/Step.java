package org.panamoe.model;

import org.panamoe.backend.Rows;
import org.panamoe.tensor.Tensor;

/**
 * What every layer needs to know about the rows of one step.
 *
 * @param offset_11 0 and T: all rows belong to one expert
 */
record Step(int T, Rows rows, Tensor offset_11, LatentCache cache, Observer observer) {
    static Step of(Batch batch, LatentCache cache, Workspace workspace, Observer observer) {
        int T = batch.T(), A = batch.spans.size();
        int[] request_T = new int[T];
        for (int a = 0; a < A; a++)
            java.util.Arrays.fill(
                    request_T, batch.spans.get(a).from(), batch.spans.get(a).to(), a);
        int[][] table = cache.table(batch);
        int M = table[0].length;
        int[] flat = new int[A * M];
        for (int a = 0; a < A; a++) System.arraycopy(table[a], 0, flat, a * M, M);
        var rows = new Rows(
                workspace.table.fill(A * M, flat).as(A, M),
                workspace.request_T.fill(T, request_T),
                workspace.position_T.fill(T, batch.position_T));
        return new Step(T, rows, workspace.offset_11.fill(2, new int[] {0, T}), cache, observer);
    }
}
