/**
 * Memory with a shape.
 *
 * <p>The letters behind the name of a tensor or array are its shape; one letter, one size, everywhere in Panamoe:
 *
 * <pre>
 * T  tokens (rows) of this step          E  routed experts                 A  requests of this step
 * D  hidden size, inner width            K  experts of each token          M  pages in one request's table
 * H  attention heads                     N  T * K routed rows              S  cached positions; in pages_SBX: pages
 * Q  rank of the query latent            G  expert groups                  B  positions in a page
 * C  rank of the latent (kv_lora_rank)   F  width of a feed-forward part   X  C + R, one row of the latent cache
 * R  rope width of a head                V  vocabulary                     Z  R / 2, rotated pairs
 * P  width of a head without rope        J  drafts                         L  layers
 * U  width of a head's value
 * </pre>
 *
 * {@code D1} is D + 1. Everything is dense and row-major.
 */
package org.panamoe.tensor;
