/** Measures models of published shapes on random weights, whole or kernel by kernel, and compares what was measured. */
@org.jspecify.annotations.NullMarked
module org.panamoe.bench {
    requires static transitive org.jspecify;
    requires com.google.common;
    requires transitive org.panamoe.engine;
    requires transitive org.panamoe.report;
    requires transitive tools.jackson.databind;

    exports org.panamoe.bench;
    exports org.panamoe.bench.figure;
    exports org.panamoe.bench.kernel;
}
