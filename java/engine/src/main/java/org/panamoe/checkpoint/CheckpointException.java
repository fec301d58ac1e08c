package org.panamoe.checkpoint;

/** A checkpoint that cannot be used as it is. The message names the file, the field or tensor in it, and the value. */
public final class CheckpointException extends IllegalArgumentException {
    private static final long serialVersionUID = 1;

    CheckpointException(String where, String problem) {
        super(printable(where + ": " + problem));
    }

    CheckpointException(String where, String problem, Throwable cause) {
        super(printable(where + ": " + problem), cause);
    }

    /** Names and values come from files of unknown origin: nothing of them may steer a terminal or fill it. */
    private static String printable(String text) {
        String shown = text.length() <= 1000 ? text : text.substring(0, 1000) + "...";
        return shown.replaceAll("[\\p{Cc}\\p{Cf}]", "?");
    }
}
