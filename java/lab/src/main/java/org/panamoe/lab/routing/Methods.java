package org.panamoe.lab.routing;

import com.google.common.collect.ImmutableMap;
import com.google.common.collect.ImmutableSet;
import java.util.Optional;
import org.panamoe.backend.GroupLimitedTopK;

/** All balancing methods by their names. */
public final class Methods {
    @FunctionalInterface
    private interface Maker {
        Balancer make(GroupLimitedTopK rule, Parameters parameters, Optional<float[]> recorded);
    }

    private static final ImmutableMap<String, Maker> ALL = ImmutableMap.<String, Maker>builder()
            .put("none", Unbalanced::new)
            .put("as-recorded", AsRecorded::new)
            .put("recorded-bias", RecordedBias::new)
            .put("sign", SignBias::new)
            .put("proportional", ProportionalBias::new)
            .put("quantile", QuantileBias::new)
            .put("bip", BipDual::new)
            .put("expert-choice", ExpertChoice::new)
            .put("sequence-aux-simulated", (rule, p, bias) -> new SimulatedAuxLoss(rule, p, true))
            .put("batch-aux-simulated", (rule, p, bias) -> new SimulatedAuxLoss(rule, p, false))
            .put("capacity", Capacity::new)
            .buildOrThrow();

    private Methods() {}

    public static ImmutableSet<String> names() {
        return ALL.keySet();
    }

    /**
     * The method at its start.
     *
     * @param recorded the bias that the trace says this layer had, if it does
     * @throws IllegalArgumentException if there is no such method or parameter, or it cannot work by this rule
     */
    public static Balancer make(MethodSpec spec, GroupLimitedTopK rule, Optional<float[]> recorded) {
        var maker = ALL.get(spec.method());
        if (maker == null)
            throw new IllegalArgumentException("%s: there is none of this name; there are %s".formatted(spec, names()));
        var parameters = new Parameters(spec);
        var balancer = maker.make(rule, parameters, recorded);
        parameters.refuseOthers();
        return balancer;
    }

    /** Whether a method has a rate, by which a sweep may vary it. */
    public static boolean hasRate(String method) {
        return switch (method) {
            case "sign", "proportional", "sequence-aux-simulated", "batch-aux-simulated" -> true;
            default -> false;
        };
    }
}
