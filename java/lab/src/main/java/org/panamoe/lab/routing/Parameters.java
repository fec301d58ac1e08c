package org.panamoe.lab.routing;

import com.google.common.base.CharMatcher;
import com.google.common.collect.Sets;
import java.util.HashSet;
import java.util.Set;

/** A method's parameters while it is made: each is asked for by its name, and what nobody asks for is an error. */
final class Parameters {
    private final MethodSpec spec;
    private final Set<String> asked = new HashSet<>();

    Parameters(MethodSpec spec) {
        this.spec = spec;
    }

    /** A number of at least {@code least}. */
    double number(String key, double absent, double least) {
        String value = value(key, "" + absent);
        double number;
        try {
            number = Double.parseDouble(value);
        } catch (NumberFormatException e) {
            throw wrong(key, value, "a number");
        }
        if (!(number >= least && number < Double.POSITIVE_INFINITY)) throw wrong(key, value, "a number from " + least);
        return number;
    }

    /** An integer of at least {@code least}. */
    int integer(String key, int absent, int least) {
        String value = value(key, "" + absent);
        boolean digits = CharMatcher.inRange('0', '9').matchesAllOf(value) && value.length() < 10;
        if (!digits || Integer.parseInt(value) < least) throw wrong(key, value, "an integer from " + least);
        return Integer.parseInt(value);
    }

    /** One of these words; the first if it is absent. */
    String word(String key, String... words) {
        String value = value(key, words[0]);
        if (!Set.of(words).contains(value)) throw wrong(key, value, String.join(" or ", words));
        return value;
    }

    void refuseOthers() {
        var others = Sets.difference(spec.parameters().keySet(), asked);
        if (!others.isEmpty())
            throw new IllegalArgumentException("%s: has no %s; it has %s"
                    .formatted(spec, String.join(", ", others), asked.isEmpty() ? "no parameters" : asked));
    }

    IllegalArgumentException wrong(String problem) {
        return new IllegalArgumentException("%s: %s".formatted(spec, problem));
    }

    private String value(String key, String absent) {
        asked.add(key);
        return spec.parameters().getOrDefault(key, absent);
    }

    private IllegalArgumentException wrong(String key, String value, String wanted) {
        return wrong("%s is %s, not %s".formatted(key, value, wanted));
    }
}
