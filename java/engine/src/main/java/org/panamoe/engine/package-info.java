/** Generation: what to compute next, which drafts stand, which token is sampled. Speaks token ids. */
package org.panamoe.engine;
