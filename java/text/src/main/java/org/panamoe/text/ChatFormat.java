package org.panamoe.text;

import java.nio.file.Path;
import java.util.List;

/**
 * How a conversation is written for a model: DeepSeek's published chat templates, as code. The text begins with BOS and
 * wants {@link Tokenizer#encode}, not encodePrompt. As with the templates, special tokens written out in a message
 * become special tokens.
 *
 * <p>System messages go to the front, with an empty line between them, wherever they stood. Tools are not supported.
 */
public enum ChatFormat {
    /** Earlier answers stay as they are. */
    V3(Reasoning.KEPT, "", ""),
    /** R1 as first published: as V3, but the reasoning of earlier answers is dropped. */
    R1_FIRST(Reasoning.DROPPED, "", ""),
    /** R1 since February 2025, and R1-0528: the answer begins within its reasoning. */
    R1(Reasoning.DROPPED, "", "<think>\n"),
    /** V3.1 without reasoning: each answer begins behind it. */
    V3_1(Reasoning.DROPPED_ONCE, "</think>", "</think>"),
    /** V3.1 with reasoning. */
    V3_1_THINKING(Reasoning.DROPPED_ONCE, "</think>", "<think>");

    /** Who speaks. */
    public enum Role {
        SYSTEM,
        USER,
        ASSISTANT;

        /** The role by its name in chat files: system, user, assistant. */
        public static Role of(String name) {
            return switch (name) {
                case "system" -> SYSTEM;
                case "user" -> USER;
                case "assistant" -> ASSISTANT;
                case "tool" -> throw new IllegalArgumentException("role tool: tools are not supported");
                default -> throw new IllegalArgumentException("role " + name + " is not system, user or assistant");
            };
        }
    }

    /** One turn of a conversation. */
    public record Message(Role role, String content) {}

    /** What becomes of the reasoning in earlier answers: the text up to the last, or only the first, end of it. */
    private enum Reasoning {
        KEPT,
        DROPPED,
        DROPPED_ONCE
    }

    private static final String BOS = "<｜begin▁of▁sentence｜>";
    private static final String EOS = "<｜end▁of▁sentence｜>";
    private static final String USER = "<｜User｜>";
    private static final String ASSISTANT = "<｜Assistant｜>";
    private static final String THINK_END = "</think>";

    private final Reasoning earlier;
    private final String beforeAnswer;
    private final String beforeNextAnswer;

    ChatFormat(Reasoning earlier, String beforeAnswer, String beforeNextAnswer) {
        this.earlier = earlier;
        this.beforeAnswer = beforeAnswer;
        this.beforeNextAnswer = beforeNextAnswer;
    }

    /**
     * The format of a model folder, told by features of its chat template. V3.1 comes without reasoning: see {@link
     * #thinking}.
     *
     * @throws IllegalArgumentException if there is no template, or one of another family
     */
    public static ChatFormat of(Path modelFolder) {
        String template = TokenizerConfig.read(modelFolder).chatTemplate();
        if (template == null) {
            throw new IllegalArgumentException(modelFolder + ": tokenizer_config.json has no chat_template");
        }
        if (!template.contains(USER) || !template.contains(ASSISTANT)) {
            throw new IllegalArgumentException(
                    modelFolder + ": the chat_template is not of DeepSeek V3, R1 or V3.1: it lacks " + USER);
        }
        if (template.contains("thinking")) {
            return V3_1;
        }
        if (template.contains(ASSISTANT + "<think>")) {
            return R1;
        }
        return template.contains(THINK_END) ? R1_FIRST : V3;
    }

    /**
     * This format with or without reasoning.
     *
     * @throws IllegalArgumentException if the format has no such switch; only V3.1 has one
     */
    public ChatFormat thinking(boolean on) {
        if (this != V3_1 && this != V3_1_THINKING) {
            throw new IllegalArgumentException("chat format " + this + " has no switch for thinking");
        }
        return on ? V3_1_THINKING : V3_1;
    }

    /**
     * The conversation, ready for the model's next answer.
     *
     * @param messages any system messages; of the others the first and the last are the user's, and user and assistant
     *     take turns. The published templates differ in what they make of anything else, or say nothing
     */
    public String prompt(List<Message> messages) {
        var text = new StringBuilder(BOS);
        String separator = "";
        for (Message message : messages) {
            if (message.role() == Role.SYSTEM) {
                text.append(separator).append(message.content());
                separator = "\n\n";
            }
        }
        var next = Role.USER;
        for (Message message : messages) {
            if (message.role() == Role.SYSTEM) {
                continue;
            }
            if (message.role() != next) {
                throw new IllegalArgumentException(
                        "chat: the " + message.role() + " speaks where it is the " + next + "'s turn");
            }
            if (next == Role.USER) {
                text.append(USER).append(message.content()).append(ASSISTANT);
                next = Role.ASSISTANT;
            } else {
                text.append(beforeAnswer).append(answer(message.content())).append(EOS);
                next = Role.USER;
            }
        }
        if (next != Role.ASSISTANT) {
            throw new IllegalArgumentException("chat: the last message must be the user's");
        }
        return text.append(beforeNextAnswer).toString();
    }

    private String answer(String content) {
        int end = switch (earlier) {
            case KEPT -> -1;
            case DROPPED -> content.lastIndexOf(THINK_END);
            case DROPPED_ONCE -> content.indexOf(THINK_END);
        };
        return end < 0 ? content : content.substring(end + THINK_END.length());
    }
}
