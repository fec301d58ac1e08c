package org.panamoe.lab.placement;

import java.io.IOException;
import java.nio.file.Path;
import java.util.List;
import java.util.stream.IntStream;
import java.util.stream.Stream;
import tools.jackson.databind.JsonNode;
import tools.jackson.databind.json.JsonMapper;

/** A case, and what EPLB made of it, with its sort made stable. */
record Golden(PlacementCase given, JsonNode expected) {
    static final Path FILE = Path.of("src", "test", "resources", "eplb", "golden.json");

    static Stream<Golden> all() throws IOException {
        List<PlacementCase> cases = CaseReader.read(FILE);
        JsonNode expected = new JsonMapper().readTree(FILE).path("cases");
        return IntStream.range(0, cases.size()).mapToObj(i -> new Golden(cases.get(i), expected.get(i)));
    }

    int[][] ints(String field) {
        return expected.path(field).valueStream().map(Golden::row).toArray(int[][]::new);
    }

    static int[] row(JsonNode row) {
        return row.valueStream().mapToInt(JsonNode::intValue).toArray();
    }

    @Override
    public String toString() {
        return given.name;
    }
}
