package org.panamoe.bench;

import java.util.Comparator;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.stream.Stream;
import tools.jackson.databind.node.ArrayNode;
import tools.jackson.databind.node.JsonNodeFactory;

/**
 * Where a step's time goes, the mean over the faster half of the steps: what holds up a step now and then is not in it, as
 * it is not in the median of their times.
 *
 * @param kernels the longest first
 * @param seconds of a step, by the wall
 * @param emptyCall seconds of a call that has nothing to do, which the time of each call contains: the check of its
 *     shapes, the boundary, and the clock that measures it
 */
public record Profile(List<Part> kernels, double seconds, double emptyCall) {
    /**
     * All calls of a function, of a product with the same sizes.
     *
     * @param function as panamoe.h calls it, without pm_
     * @param sizes of the matrix, "1536 x 7168"; empty where there is none
     * @param calls of a step
     * @param seconds of a step
     */
    public record Part(String function, String sizes, double calls, double seconds) {
        public String name() {
            return sizes.isEmpty() ? function : function + " " + sizes;
        }

        Part plus(Part other) {
            return new Part(function, sizes, calls + other.calls, seconds + other.seconds);
        }
    }

    /**
     * One step that was timed.
     *
     * @param seconds by the wall
     */
    record Step(double seconds, List<Part> kernels) {}

    static Profile of(List<Step> steps, double emptyCall) {
        int half = (steps.size() + 1) / 2;
        var faster = steps.stream()
                .sorted(Comparator.comparingDouble(Step::seconds))
                .limit(half)
                .toList();
        var sums = new LinkedHashMap<String, Part>();
        for (var step : faster) for (var part : step.kernels) sums.merge(part.name(), part, Part::plus);
        var kernels = sums.values().stream()
                .map(sum -> new Part(sum.function, sum.sizes, sum.calls / half, sum.seconds / half))
                .sorted(Comparator.comparingDouble(Part::seconds).reversed())
                .toList();
        return new Profile(kernels, faster.stream().mapToDouble(Step::seconds).sum() / half, emptyCall);
    }

    /** Calls of a step. */
    public double calls() {
        return kernels.stream().mapToDouble(Part::calls).sum();
    }

    /** What is not inside a call: Java's work, and what timing the calls takes of it. */
    public Part outside() {
        double inside = kernels.stream().mapToDouble(Part::seconds).sum();
        return new Part("outside the kernels", "", 0, seconds - inside);
    }

    /** The kernels, and last what is outside: together the whole step. */
    public List<Part> parts() {
        return Stream.concat(kernels.stream(), Stream.of(outside())).toList();
    }

    public double share(Part part) {
        return part.seconds / seconds;
    }

    ArrayNode json() {
        var list = JsonNodeFactory.instance.arrayNode();
        for (var part : parts()) {
            var json = list.addObject();
            json.put("function", part.function);
            if (!part.sizes.isEmpty()) json.put("sizes", part.sizes);
            json.put("calls", part.calls);
            json.put("seconds", part.seconds);
            json.put("share", share(part));
        }
        return list;
    }
}
