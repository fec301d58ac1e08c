package org.panamoe.text;

import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import org.jspecify.annotations.Nullable;
import tools.jackson.core.JsonParser;

/**
 * The keys of tokenizer_config.json that we use; a key (or the file) may be absent.
 *
 * @param chatTemplate Jinja; also from chat_template.jinja, where newer folders keep it
 */
record TokenizerConfig(
        @Nullable Boolean addBosToken,
        @Nullable String bosToken,
        @Nullable String eosToken,
        @Nullable String chatTemplate) {

    static TokenizerConfig read(Path modelFolder) {
        Path file = modelFolder.resolve("tokenizer_config.json");
        var config = Files.exists(file)
                ? ModelFile.read(file, TokenizerConfig::parse)
                : new TokenizerConfig(null, null, null, null);
        Path template = modelFolder.resolve("chat_template.jinja");
        return config.chatTemplate == null && Files.exists(template)
                ? new TokenizerConfig(
                        config.addBosToken, config.bosToken, config.eosToken, ModelFile.read(template, text -> text))
                : config;
    }

    private static TokenizerConfig parse(String text) {
        Object config;
        try (JsonParser json = ModelFile.parser(text)) {
            config = json.nextToken() == null ? null : ModelFile.value(json);
        }
        if (!(config instanceof Map<?, ?> keys)) {
            throw new IllegalArgumentException("not a JSON object");
        }
        Object addBos = keys.get("add_bos_token");
        if (addBos != null && !(addBos instanceof Boolean)) {
            throw new IllegalArgumentException("add_bos_token is " + addBos + ", not true or false");
        }
        return new TokenizerConfig(
                (Boolean) addBos,
                text(keys.get("bos_token")),
                text(keys.get("eos_token")),
                template(keys.get("chat_template")));
    }

    /** A text, or the one called default of several. */
    private static @Nullable String template(@Nullable Object value) {
        if (!(value instanceof List<?> several)) return text(value);
        for (Object each : several)
            if (each instanceof Map<?, ?> named && "default".equals(named.get("name")))
                return text(named.get("template"));
        throw new IllegalArgumentException("chat_template is a list in which none is called default");
    }

    /** A text, or what an added token's object says. */
    private static @Nullable String text(@Nullable Object value) {
        return (value instanceof Map<?, ?> token ? token.get("content") : value) instanceof String text ? text : null;
    }
}
