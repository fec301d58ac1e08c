/**
 * Which GPU holds which experts: EPLB, something better, and what it costs to move.
 *
 * <p>Names are EPLB's. A logical expert is one of the model's; a physical one is a replica of it in a slot of a GPU. GPU d
 * of D holds slots d * R / D to (d + 1) * R / D; node n of N holds GPUs n * D / N to (n + 1) * D / N.
 */
package org.panamoe.lab.placement;
