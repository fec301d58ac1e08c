package org.panamoe.bench;

import java.util.List;
import java.util.regex.Pattern;
import org.panamoe.backend.Kernels;
import tools.jackson.databind.node.JsonNodeFactory;
import tools.jackson.databind.node.ObjectNode;

/**
 * A run's results with the machine, as JSON is written.
 *
 * @param subject what all results have in common, for people
 * @param limits of the machine by number of threads
 */
public record Report(String subject, ObjectNode machine, ObjectNode limits, List<? extends Result> results) {
    public ObjectNode json() {
        var json = JsonNodeFactory.instance.objectNode();
        json.set("machine", machine);
        json.set("limits", limits);
        var each = json.putArray("results");
        results.forEach(result -> each.add(result.json()));
        return json;
    }

    /** What a back end says of itself under a key of {@link Kernels#describe}. */
    public static String described(Kernels kernels, String key) {
        var pair = Pattern.compile("(?:^| )" + key + "=(\\S+)").matcher(kernels.describe());
        if (!pair.find()) throw new IllegalStateException("no %s in %s".formatted(key, kernels.describe()));
        return pair.group(1);
    }

    /** Threads of the cpu back end. */
    public static int threads(Kernels kernels) {
        return Integer.parseInt(described(kernels, "threads"));
    }
}
