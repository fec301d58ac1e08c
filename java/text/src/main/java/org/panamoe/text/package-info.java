/** Tokenizers and chat formats of the DeepSeek family. */
package org.panamoe.text;
