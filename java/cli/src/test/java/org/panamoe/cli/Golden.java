package org.panamoe.cli;

import java.lang.foreign.Arena;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.stream.IntStream;
import java.util.stream.Stream;
import org.panamoe.checkpoint.Safetensors;
import org.panamoe.tensor.Tensor;
import tools.jackson.databind.JsonNode;
import tools.jackson.databind.json.JsonMapper;

/** What two other implementations say of the embedded model and five prompts. */
final class Golden {
    private static final Path FOLDER =
            Path.of(System.getProperty("panamoe.root"), "java", "engine", "src", "test", "golden", "tiny-v3");
    private static final Safetensors TENSORS = Safetensors.map(FOLDER.resolve("golden.safetensors"), Arena.global());

    private final String name;
    private final String prompt;
    private final int[] promptTokens;
    private final int[] tokens;
    private final String text;

    private Golden(String name, String prompt, int[] promptTokens, int[] tokens, String text) {
        this.name = name;
        this.prompt = prompt;
        this.promptTokens = promptTokens;
        this.tokens = tokens;
        this.text = text;
    }

    static Stream<Golden> all() {
        var cases = new JsonMapper().readTree(FOLDER.resolve("golden.json")).path("cases");
        return IntStream.range(0, cases.size()).mapToObj(i -> read("p" + i, cases.get(i)));
    }

    String prompt() {
        return prompt;
    }

    /** BOS and the prompt. */
    int[] promptTokens() {
        return promptTokens.clone();
    }

    /** The likeliest continuation, of 40 tokens. */
    int[] tokens() {
        return tokens.clone();
    }

    /** Its text. */
    String text() {
        return text;
    }

    Tensor tensor(String what) {
        return TENSORS.tensor(name + "." + what);
    }

    /** Token ids as the command line takes them. */
    String ids() {
        return ids(promptTokens);
    }

    static String ids(int[] tokens) {
        return String.join(",", IntStream.of(tokens).mapToObj(Integer::toString).toList());
    }

    static int[] ints(JsonNode array) {
        return array.values().stream().mapToInt(JsonNode::asInt).toArray();
    }

    @Override
    public String toString() {
        return name;
    }

    private static Golden read(String name, JsonNode from) {
        String prompt = from.path("prompt").asString();
        int[] ids = ints(from.path("ids")), all = ints(from.path("greedy_ids"));
        return new Golden(
                name,
                prompt,
                ids,
                Arrays.copyOfRange(all, ids.length, all.length),
                from.path("greedy_text").asString().substring(prompt.length()));
    }
}
