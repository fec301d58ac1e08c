package org.panamoe.cli;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Locale;
import java.util.concurrent.ConcurrentHashMap;
import org.panamoe.backend.Kernels;
import org.panamoe.engine.Generation;
import tools.jackson.databind.node.JsonNodeFactory;
import tools.jackson.databind.node.ObjectNode;

/** How a generation went: four lines for people, one object for machines. What cannot be said of it is NaN, or null. */
record Facts(Speed speed, Routing routing, Drafts drafts, Machine machine) {
    /** For each back end, as it describes itself: a process measures once, for that takes half a second. */
    private static final ConcurrentHashMap<String, Float> BANDWIDTH = new ConcurrentHashMap<>();

    /** @param bandwidth bytes per second that the machine reads, measured just now */
    record Speed(
            int promptTokens,
            double promptPerSecond,
            double generatedPerSecond,
            double secondsToFirst,
            double bytesPerToken,
            double bytesPerSecond,
            double bandwidth) {}

    record Routing(double maxVio, long deadExperts, long experts, double touchedPerStep) {}

    /** @param offered how often a first draft was verified */
    record Drafts(int wanted, int steps, double acceptedPerStep, int offered, int accepted) {
        double acceptance() {
            return (double) accepted / offered;
        }
    }

    /** @param on key=value pairs, as the back end describes itself */
    record Machine(String on, String weights) {}

    /**
     * Measures the machine's bandwidth, which takes half a second: to be called when the text is out.
     *
     * @param generated tokens of the text: a step may give more after a stop string
     */
    static Facts of(
            Generation generation, int generated, int promptTokens, Clock clock, Traffic traffic, Kernels kernels) {
        int decoded = generated - clock.firstTokens();
        var speed = new Speed(
                promptTokens,
                promptTokens / clock.prompt(),
                decoded > 0 ? decoded / clock.decoding() : Double.NaN,
                clock.prompt(),
                decoded > 0 ? (double) traffic.bytes() / decoded : Double.NaN,
                decoded > 0 ? traffic.bytes() / clock.decoding() : Double.NaN,
                BANDWIDTH.computeIfAbsent(kernels.describe(), on -> kernels.readBandwidth()));
        var routing = new Routing(traffic.maxVio(), traffic.deadExperts(), traffic.experts(), traffic.touchedPerStep());
        int[] offered_J = generation.offered(), accepted_J = generation.accepted();
        int steps = offered_J.length == 0 ? generation.steps() : offered_J[0];
        var drafts = new Drafts(
                offered_J.length,
                generation.steps(),
                (double) Arrays.stream(accepted_J).sum() / steps,
                offered_J.length == 0 ? 0 : offered_J[0],
                offered_J.length == 0 ? 0 : accepted_J[0]);
        return new Facts(speed, routing, drafts, new Machine(kernels.describe(), traffic.weightFormat()));
    }

    List<String> lines() {
        var lines = new ArrayList<String>();
        lines.add("speed    prompt %d tokens at %s/s, then %s tokens/s, first after %.0f ms%s"
                .formatted(
                        speed.promptTokens,
                        number(speed.promptPerSecond),
                        number(speed.generatedPerSecond),
                        speed.secondsToFirst * 1e3,
                        Double.isNaN(speed.bytesPerToken)
                                ? ""
                                : "; %s a token, %s/s: %.0f %% of the memory's %s/s"
                                        .formatted(
                                                Bytes.text(speed.bytesPerToken),
                                                Bytes.text(speed.bytesPerSecond),
                                                100 * speed.bytesPerSecond / speed.bandwidth,
                                                Bytes.text(speed.bandwidth))));
        lines.add(
                routing.experts == 0
                        ? "routing  no experts"
                        : "routing  MaxVio %.2f, %d of %d experts dead, %s touched per step and layer"
                                .formatted(
                                        routing.maxVio,
                                        routing.deadExperts,
                                        routing.experts,
                                        number(routing.touchedPerStep)));
        lines.add(
                drafts.offered == 0
                        ? "drafts   none"
                        : "drafts   %.2f accepted per step, the first of each step in %.0f %% (%d of %d)"
                                .formatted(
                                        drafts.acceptedPerStep,
                                        100 * drafts.acceptance(),
                                        drafts.accepted,
                                        drafts.offered));
        lines.add("machine  %s weights=%s".formatted(machine.on, machine.weights));
        return lines;
    }

    ObjectNode json() {
        var facts = JsonNodeFactory.instance.objectNode();
        var s = facts.putObject("speed");
        put(s, "prompt_tokens_per_second", speed.promptPerSecond);
        put(s, "generated_tokens_per_second", speed.generatedPerSecond);
        put(s, "time_to_first_token_seconds", speed.secondsToFirst);
        put(s, "bytes_per_token", speed.bytesPerToken);
        put(s, "bytes_per_second", speed.bytesPerSecond);
        put(s, "memory_bytes_per_second", speed.bandwidth);
        put(s, "share_of_memory_bandwidth", speed.bytesPerSecond / speed.bandwidth);
        var r = facts.putObject("routing");
        put(r, "max_vio", routing.experts == 0 ? Double.NaN : routing.maxVio);
        r.put("dead_experts", routing.deadExperts);
        r.put("experts", routing.experts);
        put(r, "experts_per_step_and_layer", routing.touchedPerStep);
        var d = facts.putObject("drafts");
        d.put("drafts", drafts.wanted);
        d.put("steps", drafts.steps);
        put(d, "accepted_per_step", drafts.acceptedPerStep);
        d.put("first_offered", drafts.offered);
        d.put("first_accepted", drafts.accepted);
        put(d, "first_acceptance", drafts.acceptance());
        var m = facts.putObject("machine");
        for (String pair : machine.on.split(" ", -1)) {
            String[] parts = pair.split("=", 2);
            if (parts[0].equals("threads")) m.put(parts[0], Integer.parseInt(parts[1]));
            else m.put(parts[0], parts[1]);
        }
        m.put("weights", machine.weights);
        return facts;
    }

    /** JSON has no NaN. */
    private static void put(ObjectNode object, String key, double value) {
        if (Double.isFinite(value)) object.put(key, value);
        else object.putNull(key);
    }

    /** Three digits tell enough. */
    private static String number(double value) {
        if (Double.isNaN(value)) return "-";
        int decimals = value >= 100 ? 0 : value >= 10 ? 1 : 2;
        return String.format(Locale.ROOT, "%." + decimals + "f", value);
    }
}
