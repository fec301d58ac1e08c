package org.panamoe.cli;

import com.google.errorprone.annotations.FormatMethod;
import com.google.errorprone.annotations.FormatString;

/** What a command found out, for people: a name and a value in each line. */
final class Lines {
    private final StringBuilder text = new StringBuilder();

    @FormatMethod
    void add(String name, @FormatString String value, Object... arguments) {
        text.append("%-15s %s".formatted(name, value.formatted(arguments)).stripTrailing())
                .append('\n');
    }

    @Override
    public String toString() {
        return text.toString();
    }
}
