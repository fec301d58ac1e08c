/**
 * Each function of panamoe.h with inputs of a model's sizes: what a benchmark calls, and what the call must at least move
 * and compute. Shape letters are those of {@link org.panamoe.tensor}.
 */
package org.panamoe.bench.kernel;
