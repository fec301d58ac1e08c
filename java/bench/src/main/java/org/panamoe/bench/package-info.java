/** Measuring whole models, and comparing what was measured. */
package org.panamoe.bench;
