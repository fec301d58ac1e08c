package org.panamoe.backend;

import org.panamoe.tensor.Tensor;

/**
 * Where each row of a step stands in the latent cache; all I32, in the memory of the back end.
 *
 * @param table_AM for each request the ids of its pages, in the order of its positions
 * @param request_T for each row its request, a row of {@code table_AM}
 * @param position_T for each row its position in that request
 */
public record Rows(Tensor table_AM, Tensor request_T, Tensor position_T) {
    /** Rows [from, to) of these. */
    public Rows rows(int from, int to) {
        return new Rows(table_AM, request_T.rows(from, to), position_T.rows(from, to));
    }
}
