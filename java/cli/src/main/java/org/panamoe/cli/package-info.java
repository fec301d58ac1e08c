/** The program {@code panamoe}: one class for each command. */
@NullMarked
package org.panamoe.cli;

import org.jspecify.annotations.NullMarked;
