package org.panamoe.lab.routing;

import com.google.common.base.CharMatcher;
import java.io.BufferedInputStream;
import java.io.BufferedReader;
import java.io.EOFException;
import java.io.IOException;
import java.io.InputStream;
import java.io.InputStreamReader;
import java.io.UncheckedIOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.TreeMap;
import java.util.regex.Pattern;
import java.util.zip.GZIPInputStream;
import org.jspecify.annotations.Nullable;
import org.panamoe.backend.GroupLimitedTopK;

/**
 * Choices recorded by deepseek-ai/ESFT (commit 579a771) of models with the shape of DeepSeek-V2-Lite, 6 of 64 experts: a
 * tar.gz of files {@code expert_weights_LAYER.txt}. A line is one sequence: the ids of all tokens, an empty field, their
 * gate weights, with tabs between. The archive is read anew for each layer, and only a line of it is in memory.
 */
final class EsftTrace implements Trace {
    private static final int EXPERTS = 64, CHOSEN = 6;
    private static final int TAR_BLOCK = 512, TAR_SIZE_AT = 124, TAR_SIZE_DIGITS = 12, TAR_NAME = 100;
    private static final CharMatcher DIGITS = CharMatcher.inRange('0', '9');
    private static final Pattern LAYER = Pattern.compile(".*expert_weights_([0-9]{1,4})\\.txt");

    private final Path file;
    private final TreeMap<Integer, String> entries = new TreeMap<>();

    EsftTrace(Path file) {
        this.file = file;
        try (var tar = open()) {
            for (var entry = nextEntry(tar); entry != null; entry = nextEntry(tar)) {
                var matched = LAYER.matcher(entry.name);
                if (matched.matches()) entries.put(Integer.parseInt(matched.group(1)), entry.name);
                tar.skipNBytes(Math.ceilDiv(entry.bytes, TAR_BLOCK) * TAR_BLOCK);
            }
        } catch (IOException e) {
            throw unreadable(e);
        }
        if (entries.isEmpty()) throw wrong("no expert_weights_LAYER.txt in it");
    }

    private record Entry(String name, long bytes) {}

    private InputStream open() throws IOException {
        return new BufferedInputStream(new GZIPInputStream(Files.newInputStream(file)));
    }

    /** The tar format (POSIX.1-1988): a block with name and size, then the file's blocks; an empty block is the end. */
    private @Nullable Entry nextEntry(InputStream tar) throws IOException {
        byte[] header = tar.readNBytes(TAR_BLOCK);
        if (header.length < TAR_BLOCK) throw new EOFException("the archive ends without its empty blocks");
        if (header[0] == 0) return null;
        String size = new String(header, TAR_SIZE_AT, TAR_SIZE_DIGITS, StandardCharsets.US_ASCII)
                .replace('\0', ' ')
                .strip();
        if (!size.matches("[0-7]{1,11}")) throw wrong("not a tar archive: a size is '%s'".formatted(size));
        int end = 0;
        while (end < TAR_NAME && header[end] != 0) end++;
        return new Entry(new String(header, 0, end, StandardCharsets.UTF_8), Long.parseLong(size, 8));
    }

    @Override
    public String name() {
        return String.valueOf(file.getFileName());
    }

    @Override
    public GroupLimitedTopK rule() {
        return Trace.rule(EXPERTS, CHOSEN, 1, 1);
    }

    @Override
    public List<Integer> layers() {
        return new ArrayList<>(entries.keySet());
    }

    @Override
    public boolean hasScores() {
        return false;
    }

    @Override
    public boolean hasChoices() {
        return true;
    }

    @Override
    public Reader read(int layer, long seed) {
        if (seed != 0) throw wrong("is read in its own order, which is the seed 0, not " + seed);
        String wanted = entries.get(layer);
        if (wanted == null) throw wrong("there is no layer %d among %s".formatted(layer, entries.keySet()));
        try {
            var tar = open();
            for (var entry = nextEntry(tar); entry != null; entry = nextEntry(tar)) {
                if (entry.name.equals(wanted)) return new LayerReader(entry, tar);
                tar.skipNBytes(Math.ceilDiv(entry.bytes, TAR_BLOCK) * TAR_BLOCK);
            }
            tar.close();
        } catch (IOException e) {
            throw unreadable(e);
        }
        throw wrong(wanted + " is gone");
    }

    @Override
    public void close() {}

    private IllegalArgumentException wrong(String problem) {
        return new IllegalArgumentException(name() + ": " + problem);
    }

    private IllegalArgumentException unreadable(IOException e) {
        return new IllegalArgumentException(name() + ": cannot be read: " + e.getMessage(), e);
    }

    private final class LayerReader implements Reader {
        private final String entry;
        private final BufferedReader lines;
        private long left;
        private int line;
        private int[] expert_TK = new int[0];
        private int at;

        LayerReader(Entry entry, InputStream tar) {
            this.entry = entry.name.substring(entry.name.lastIndexOf('/') + 1);
            left = entry.bytes;
            lines = new BufferedReader(new InputStreamReader(tar, StandardCharsets.US_ASCII));
        }

        @Override
        public boolean next(Batch batch) {
            batch.T = 0;
            batch.window = batch.capacity();
            while (batch.T < batch.capacity() && (at < expert_TK.length || nextSequence())) {
                int count = Math.min((batch.capacity() - batch.T) * CHOSEN, expert_TK.length - at);
                System.arraycopy(expert_TK, at, batch.expert_TK, batch.T * CHOSEN, count);
                batch.T += count / CHOSEN;
                at += count;
            }
            return batch.T > 0;
        }

        private boolean nextSequence() {
            String text;
            try {
                text = left > 0 ? lines.readLine() : null;
            } catch (IOException e) {
                throw unreadable(e);
            }
            if (text == null) {
                if (left > 0) throw wrong("%s ends %d bytes too early".formatted(entry, left));
                return false;
            }
            left -= text.length() + 1;
            line++;
            parse(text);
            return true;
        }

        private void parse(String text) {
            int gap = text.indexOf("\t\t");
            if (gap < 0) throw at("has no empty field between ids and weights");
            String[] ids = text.substring(0, gap).split("\t", -1);
            String[] weights = text.substring(gap + 2).split("\t", -1);
            if (ids.length % CHOSEN != 0 || ids.length != weights.length)
                throw at("has %d ids and %d weights: %d of each for every token are expected"
                        .formatted(ids.length, weights.length, CHOSEN));
            expert_TK = new int[ids.length];
            at = 0;
            for (int i = 0; i < ids.length; i++) {
                expert_TK[i] = id(ids[i]);
                if (expert_TK[i] >= EXPERTS) throw at(i, "expert %s of %d".formatted(ids[i], EXPERTS));
                for (int k = i - i % CHOSEN; k < i; k++)
                    if (expert_TK[k] == expert_TK[i]) throw at(i, "expert %s twice".formatted(ids[i]));
                if (!isWeight(weights[i])) throw at(i, "the weight is '%s', not a number".formatted(weights[i]));
            }
        }

        /** More than any expert's if it is no number. */
        private static int id(String text) {
            boolean digits = !text.isEmpty() && text.length() < 10 && DIGITS.matchesAllOf(text);
            return digits ? Integer.parseInt(text) : Integer.MAX_VALUE;
        }

        private static boolean isWeight(String text) {
            try {
                return Double.isFinite(Double.parseDouble(text));
            } catch (NumberFormatException e) {
                return false;
            }
        }

        private IllegalArgumentException at(int id, String problem) {
            return at("token %d, choice %d: %s".formatted(id / CHOSEN, id % CHOSEN, problem));
        }

        private IllegalArgumentException at(String problem) {
            return wrong("%s, line %d: %s".formatted(entry, line, problem));
        }

        @Override
        public void close() {
            try {
                lines.close();
            } catch (IOException e) {
                throw new UncheckedIOException(e);
            }
        }
    }
}
