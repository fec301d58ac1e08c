/**
 * Routing methods on the same input: traces, recorded or made up, are played to balancing methods, and what comes of it
 * is measured alike for all.
 *
 * <p>Shape letters are those of {@code org.panamoe.tensor}: T tokens, E experts, K chosen for each token, N routed rows.
 */
@NullMarked
package org.panamoe.lab.routing;

import org.jspecify.annotations.NullMarked;
