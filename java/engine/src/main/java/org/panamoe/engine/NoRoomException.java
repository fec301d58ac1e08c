package org.panamoe.engine;

/** The cache is full just now: the same request may find room once other generations have ended. */
public final class NoRoomException extends IllegalStateException {
    private static final long serialVersionUID = 1;

    NoRoomException(String message) {
        super(message);
    }
}
