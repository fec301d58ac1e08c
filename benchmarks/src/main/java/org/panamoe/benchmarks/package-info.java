/** JMH benchmarks. Each kernel's benchmark bears the kernel's name. */
@NullMarked
package org.panamoe.benchmarks;

import org.jspecify.annotations.NullMarked;
