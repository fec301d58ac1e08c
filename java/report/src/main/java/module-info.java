/** One writer of self-contained HTML pages with charts. */
@org.jspecify.annotations.NullMarked
module org.panamoe.report {
    requires static transitive org.jspecify;
    requires tools.jackson.core;

    exports org.panamoe.report;
}
