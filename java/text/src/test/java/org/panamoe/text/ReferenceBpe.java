package org.panamoe.text;

import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import tools.jackson.databind.JsonNode;

/** Byte-level BPE by the book, with the pre-tokenizer of DeepSeek-V3 in Java's regular expressions. Slow. */
final class ReferenceBpe {
    private static final List<Pattern> SPLITS = List.of(
            Pattern.compile("\\p{N}{1,3}"),
            Pattern.compile("[一-龥\u3040-ゟ゠-ヿ]+"),
            Pattern.compile(
                    "[!\"#$%&'()*+,\\-./:;<=>?@\\[\\\\\\]^_`{|}~][A-Za-z]+"
                            + "|[^\\r\\n\\p{L}\\p{P}\\p{S}]?[\\p{L}\\p{M}]+"
                            + "| ?[\\p{P}\\p{S}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+",
                    Pattern.UNICODE_CHARACTER_CLASS));

    private final Map<String, Integer> id = new HashMap<>();
    private final Map<String, Integer> rank = new HashMap<>(); // of "left right"
    private final Map<String, Integer> special = new HashMap<>();
    private final Pattern specials;

    ReferenceBpe(Path tokenizerJson) throws IOException {
        JsonNode json = TinyV3.JSON.readTree(Files.readString(tokenizerJson));
        json.at("/model/vocab").forEachEntry((token, i) -> id.put(token, i.asInt()));
        for (JsonNode pair : json.at("/model/merges")) {
            rank.put(pair.get(0).asString() + " " + pair.get(1).asString(), rank.size());
        }
        for (JsonNode token : json.path("added_tokens")) {
            special.put(token.path("content").asString(), token.path("id").asInt());
        }
        specials = Pattern.compile(
                String.join("|", special.keySet().stream().map(Pattern::quote).toList()));
    }

    int[] encode(String text) {
        List<Integer> tokens = new ArrayList<>();
        Matcher found = specials.matcher(text);
        int from = 0;
        while (found.find()) {
            plain(text.substring(from, found.start()), tokens);
            tokens.add(special.get(found.group()));
            from = found.end();
        }
        plain(text.substring(from), tokens);
        return tokens.stream().mapToInt(Integer::intValue).toArray();
    }

    private void plain(String text, List<Integer> tokens) {
        List<String> pieces = List.of(text);
        for (Pattern split : SPLITS) {
            List<String> finer = new ArrayList<>();
            pieces.forEach(piece -> isolate(split, piece, finer));
            pieces = finer;
        }
        pieces.forEach(piece -> merge(piece, tokens));
    }

    /** Every match is a piece, and so is what lies between matches. */
    private static void isolate(Pattern split, String text, List<String> pieces) {
        Matcher match = split.matcher(text);
        int from = 0;
        while (match.find()) {
            if (match.start() > from) {
                pieces.add(text.substring(from, match.start()));
            }
            pieces.add(match.group());
            from = match.end();
        }
        if (from < text.length()) {
            pieces.add(text.substring(from));
        }
    }

    private void merge(String piece, List<Integer> tokens) {
        List<String> parts = new ArrayList<>();
        for (byte b : piece.getBytes(StandardCharsets.UTF_8)) {
            parts.add(character(b & 0xFF));
        }
        while (true) {
            int best = -1;
            int bestRank = Integer.MAX_VALUE;
            for (int i = 0; i + 1 < parts.size(); i++) {
                int pair = rank.getOrDefault(parts.get(i) + " " + parts.get(i + 1), Integer.MAX_VALUE);
                if (pair < bestRank) {
                    best = i;
                    bestRank = pair;
                }
            }
            if (best < 0) {
                break;
            }
            parts.set(best, parts.get(best) + parts.remove(best + 1));
        }
        parts.forEach(part -> tokens.add(id.get(part)));
    }

    /** The character that stands for a byte in the vocabulary. */
    private static String character(int b) {
        boolean printable = (b >= 33 && b <= 126) || (b >= 161 && b <= 172) || b >= 174;
        if (printable) {
            return String.valueOf((char) b);
        }
        int before = 0; // bytes below this one that are not printable either
        for (int c = 0; c < b; c++) {
            before += (c >= 33 && c <= 126) || (c >= 161 && c <= 172) || c >= 174 ? 0 : 1;
        }
        return String.valueOf((char) (256 + before));
    }
}
