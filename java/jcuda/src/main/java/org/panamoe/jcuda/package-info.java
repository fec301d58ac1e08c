/**
 * For programs that use JCuda: its pointers as tensors, a back end on its context and stream, time by its events.
 *
 * <p>Ask {@link org.panamoe.jcuda.Cuda#probe} first. Where there is no driver, JCuda's classes fail to load, once with
 * one error and then for ever with another; where a driver lacks a function, calling it ends the process.
 *
 * <p>JCuda finds its native library on the class path and on {@code java.library.path}, not on the module path. It
 * extracts it to {@code java.io.tmpdir}, under a fixed name, and loads what it finds there: on a machine with other users
 * set that property to a folder of your own.
 */
package org.panamoe.jcuda;
