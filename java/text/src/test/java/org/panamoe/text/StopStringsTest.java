package org.panamoe.text;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.util.List;
import java.util.Random;
import java.util.stream.IntStream;
import org.junit.jupiter.api.Test;

final class StopStringsTest {
    @Test
    void endsBeforeTheStopString() {
        var stops = new StopStrings(List.of("\n\n", "END"));
        assertThat(stops.add("One\nT")).isEqualTo("One\nT");
        assertThat(stops.add("wo E")).isEqualTo("wo ");
        assertThat(stops.add("N")).isEmpty();
        assertThat(stops.add("")).isEmpty();
        assertThat(stops.add("EN")).isEqualTo("EN");
        assertThat(stops.found()).isFalse();
        assertThat(stops.add("D and more")).isEmpty();
        assertThat(stops.found()).isTrue();
        assertThat(stops.add("text")).isEmpty();
        assertThat(stops.end()).isEmpty();
    }

    @Test
    void givesBackWhatWasHeld() {
        var stops = new StopStrings(List.of("END"));
        assertThat(stops.add("the EN")).isEqualTo("the ");
        assertThat(stops.end()).isEqualTo("EN");
        assertThat(stops.found()).isFalse();
    }

    @Test
    void withoutStopStringsHoldsNothing() {
        var stops = new StopStrings(List.of());
        assertThat(stops.add("any text")).isEqualTo("any text");
        assertThat(stops.end()).isEmpty();
        assertThatThrownBy(() -> new StopStrings(List.of("a", ""))).isInstanceOf(IllegalArgumentException.class);
    }

    /** Over a small alphabet, so that stop strings overlap themselves, each other and the pieces' borders. */
    @Test
    void agreesWithTheDefinition() {
        int stopped = 0;
        for (int seed = 0; seed < 5_000; seed++) {
            var random = new Random(seed);
            List<String> list = IntStream.range(0, 1 + random.nextInt(3))
                    .mapToObj(i -> letters(random, 1 + random.nextInt(4)))
                    .toList();
            String text = letters(random, random.nextInt(20));
            String what = "seed " + seed + ": " + list + " in " + text;
            var stops = new StopStrings(list);
            var shown = new StringBuilder();
            for (int from = 0; from < text.length() && !stops.found(); ) {
                int to = Math.min(text.length(), from + random.nextInt(4));
                shown.append(stops.add(text.substring(from, to)));
                from = to;
                if (!stops.found()) {
                    assertThat(shown.length()).as(what).isEqualTo(to - held(list, text.substring(0, to)));
                }
            }
            shown.append(stops.end());
            int end = IntStream.rangeClosed(0, text.length())
                    .filter(i -> list.stream().anyMatch(text.substring(0, i)::endsWith))
                    .findFirst()
                    .orElse(-1);
            assertThat(stops.found()).as(what).isEqualTo(end >= 0);
            int longest = end < 0
                    ? 0
                    : list.stream()
                            .filter(text.substring(0, end)::endsWith)
                            .mapToInt(String::length)
                            .max()
                            .orElseThrow();
            assertThat(shown.toString()).as(what).isEqualTo(end < 0 ? text : text.substring(0, end - longest));
            stopped += end >= 0 ? 1 : 0;
        }
        assertThat(stopped).isBetween(1_000, 4_750);
    }

    /** The longest end of the text that a stop string starts with. */
    private static int held(List<String> stops, String text) {
        return IntStream.rangeClosed(0, text.length())
                .map(length -> text.length() - length)
                .filter(length ->
                        stops.stream().anyMatch(stop -> stop.startsWith(text.substring(text.length() - length))))
                .findFirst()
                .orElse(0);
    }

    private static String letters(Random random, int length) {
        return random.ints(length, 'a', 'c')
                .collect(StringBuilder::new, StringBuilder::appendCodePoint, StringBuilder::append)
                .toString();
    }
}
