/** Back ends: libraries that implement panamoe.h, and the reference that says what each function means. */
package org.panamoe.backend;
