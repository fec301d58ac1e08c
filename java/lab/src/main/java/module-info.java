/** The load-balancing lab: routers, traces, placement and what imbalance costs. */
@org.jspecify.annotations.NullMarked
module org.panamoe.lab {
    requires static transitive org.jspecify;
    requires com.google.common;
    requires org.panamoe.engine;
    requires org.panamoe.report;
    requires tools.jackson.core;
    requires tools.jackson.databind;

    exports org.panamoe.lab.cost;
    exports org.panamoe.lab.figure;
    exports org.panamoe.lab.placement;
    exports org.panamoe.lab.routing;
}
