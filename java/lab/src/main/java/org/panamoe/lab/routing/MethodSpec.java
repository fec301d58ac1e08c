package org.panamoe.lab.routing;

import com.google.common.collect.ImmutableSortedMap;
import java.util.Locale;
import java.util.Map;
import java.util.TreeMap;
import java.util.stream.Collectors;

/**
 * A name and parameters as they are written: {@code sign:rate=0.001,recentre=true}. Of methods, and of streams that are made up; two that are written in another
 * order are equal.
 */
public record MethodSpec(String method, ImmutableSortedMap<String, String> parameters) {
    public static MethodSpec parse(String text) {
        int colon = text.indexOf(':');
        String method = (colon < 0 ? text : text.substring(0, colon)).strip();
        var parameters = new TreeMap<String, String>();
        if (colon >= 0)
            for (String pair : text.substring(colon + 1).split(",", -1)) {
                String[] parts = pair.split("=", 2);
                if (parts.length != 2 || parts[0].isBlank() || parts[1].isBlank())
                    throw new IllegalArgumentException("%s: '%s' is not key=value".formatted(text, pair));
                if (parameters.put(parts[0].strip(), parts[1].strip()) != null)
                    throw new IllegalArgumentException("%s: %s is given twice".formatted(text, parts[0]));
            }
        return new MethodSpec(method.toLowerCase(Locale.ROOT), ImmutableSortedMap.copyOf(parameters));
    }

    /** The same method with one more parameter, or another value of it. */
    public MethodSpec with(String key, String value) {
        var all = new TreeMap<>(parameters);
        all.put(key, value);
        return new MethodSpec(method, ImmutableSortedMap.copyOf(all));
    }

    @Override
    public String toString() {
        return parameters.isEmpty()
                ? method
                : method + ":"
                        + parameters.entrySet().stream()
                                .map(Map.Entry::toString)
                                .collect(Collectors.joining(","));
    }
}
