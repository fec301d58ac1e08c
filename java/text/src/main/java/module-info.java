/** Text for the engine: tokenizers and chat formats of the DeepSeek family. */
@org.jspecify.annotations.NullMarked
module org.panamoe.text {
    requires static transitive org.jspecify;
    requires ai.djl.tokenizers;
    requires tools.jackson.core;

    exports org.panamoe.text;
}
