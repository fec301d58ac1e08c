/** DeepSeek-V3 on the JVM at native speed: the artifact that frameworks link. It speaks token ids, not text. */
@org.jspecify.annotations.NullMarked
module org.panamoe.engine {
    requires static transitive org.jspecify;
    requires tools.jackson.databind;

    exports org.panamoe.backend;
    exports org.panamoe.checkpoint;
    exports org.panamoe.engine;
    exports org.panamoe.model;
    exports org.panamoe.tensor;
}
