package org.panamoe.bench;

import java.util.Arrays;
import java.util.Locale;
import java.util.stream.Collectors;
import org.panamoe.tensor.QuantFormat;

/** Weight formats as the command line calls them: "fp8" is F8_E4M3_B128. */
public final class WeightFormats {
    private WeightFormats() {}

    public static String name(QuantFormat format) {
        String name = format.name().toLowerCase(Locale.ROOT);
        return name.startsWith("f8") ? "fp8" : name.replaceFirst("_.*", "");
    }

    /** @throws IllegalArgumentException naming those that there are */
    public static QuantFormat of(String name) {
        return Arrays.stream(QuantFormat.values())
                .filter(format -> name(format).equals(name))
                .findFirst()
                .orElseThrow(() -> new IllegalArgumentException("weights %s: there are %s"
                        .formatted(
                                name,
                                Arrays.stream(QuantFormat.values())
                                        .map(WeightFormats::name)
                                        .collect(Collectors.joining(", ")))));
    }
}
