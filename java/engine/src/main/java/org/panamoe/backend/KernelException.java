package org.panamoe.backend;

/** A back end refused its arguments, lacks a function, or failed on the device. */
public final class KernelException extends RuntimeException {
    private static final long serialVersionUID = 1L;

    KernelException(String message) {
        super(message);
    }
}
