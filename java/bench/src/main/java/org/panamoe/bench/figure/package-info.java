/** Measurements as figures. */
package org.panamoe.bench.figure;
