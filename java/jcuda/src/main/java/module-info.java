/** JCuda and Panamoe: which devices there are, and contexts, streams, memory and events in common. */
@org.jspecify.annotations.NullMarked
module org.panamoe.jcuda {
    requires static transitive org.jspecify;
    requires transitive org.panamoe.engine;
    requires transitive jcuda;

    exports org.panamoe.jcuda;
}
