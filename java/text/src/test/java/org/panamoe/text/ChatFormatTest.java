package org.panamoe.text;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;
import org.panamoe.text.ChatFormat.Message;
import org.panamoe.text.ChatFormat.Role;
import tools.jackson.databind.JsonNode;

final class ChatFormatTest {
    /** chat-golden.json is what the published templates give in Jinja: see scripts/chat_golden.py. */
    @ParameterizedTest
    @EnumSource
    void writesWhatThePublishedTemplateWrites(ChatFormat format) throws IOException {
        JsonNode golden = TinyV3.JSON.readTree(Files.readString(TinyV3.resource("/chat-golden.json")));
        assertThat(golden.size()).isGreaterThan(10);
        for (JsonNode conversation : golden) {
            List<Message> messages = new ArrayList<>();
            for (JsonNode message : conversation.path("messages")) {
                Role role = Role.of(message.path("role").asString());
                messages.add(new Message(role, message.path("content").asString()));
            }
            String expected = conversation.path("prompts").path(format.name()).asString();
            assertThat(format.prompt(messages)).isEqualTo(expected);
        }
    }

    @Test
    void isEncodedWithOneBos() {
        String prompt = ChatFormat.R1.prompt(List.of(new Message(Role.USER, "Hi")));
        try (var tokenizer = TinyV3.open()) {
            int[] tokens = tokenizer.encode(prompt);
            assertThat(tokens).startsWith(0, 3).contains(4, 5);
            assertThat(tokens[1]).isNotZero();
            assertThat(tokenizer.decode(tokens, true)).isEqualTo(prompt);
        }
    }

    @Test
    void isToldByTheTemplate(@TempDir Path folder) throws IOException {
        assertThat(ChatFormat.of(TinyV3.FOLDER)).isEqualTo(ChatFormat.V3);
        String turn = "{{'<｜User｜>' + message['content']}}{{'<｜Assistant｜>' + content}}";
        var templates = Map.of(
                ChatFormat.V3,
                turn,
                ChatFormat.R1_FIRST,
                turn + "{% set content = content.split('</think>')[-1] %}",
                ChatFormat.R1,
                turn + "{% set content = content.split('</think>')[-1] %}{{'<｜Assistant｜><think>\\n'}}",
                ChatFormat.V3_1,
                turn + "{%- if not thinking %}{{'</think>'}}{%- else %}{{'<think>'}}{%- endif %}");
        for (var template : templates.entrySet()) {
            Files.writeString(folder.resolve("chat_template.jinja"), template.getValue());
            assertThat(ChatFormat.of(folder)).isEqualTo(template.getKey());
        }
        Files.writeString(folder.resolve("chat_template.jinja"), "<|im_start|>{{ content }}");
        assertThatThrownBy(() -> ChatFormat.of(folder)).hasMessageContaining(folder + ": the chat_template is not of");
        Files.delete(folder.resolve("chat_template.jinja"));
        assertThatThrownBy(() -> ChatFormat.of(folder)).hasMessageEndingWith("has no chat_template");
    }

    @Test
    void onlyV31HasASwitch() {
        assertThat(ChatFormat.V3_1.thinking(true)).isEqualTo(ChatFormat.V3_1_THINKING);
        assertThat(ChatFormat.V3_1_THINKING.thinking(false)).isEqualTo(ChatFormat.V3_1);
        assertThatThrownBy(() -> ChatFormat.R1.thinking(false)).hasMessage("chat format R1 has no switch for thinking");
        assertThatThrownBy(() -> ChatFormat.V3.thinking(true)).isInstanceOf(IllegalArgumentException.class);
    }

    @Test
    void refusesWhatTheTemplatesDoNotDefine() {
        var user = new Message(Role.USER, "x");
        var assistant = new Message(Role.ASSISTANT, "y");
        for (var messages :
                List.of(List.<Message>of(), List.of(assistant), List.of(user, user), List.of(user, assistant))) {
            assertThatThrownBy(() -> ChatFormat.V3.prompt(messages))
                    .isInstanceOf(IllegalArgumentException.class)
                    .hasMessageStartingWith("chat: ");
        }
        assertThatThrownBy(() -> Role.of("tool")).hasMessage("role tool: tools are not supported");
        assertThatThrownBy(() -> Role.of("root")).hasMessage("role root is not system, user or assistant");
    }
}
