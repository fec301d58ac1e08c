package org.panamoe.lab.routing;

import java.io.ByteArrayOutputStream;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.regex.Pattern;
import org.jspecify.annotations.Nullable;
import org.panamoe.backend.GroupLimitedTopK;
import tools.jackson.core.JacksonException;
import tools.jackson.core.JsonParser;
import tools.jackson.core.JsonToken;
import tools.jackson.core.ObjectReadContext;
import tools.jackson.core.StreamReadConstraints;
import tools.jackson.core.json.JsonFactory;

/**
 * Choices as servers return them, a JSON object for each response, one after another (JSON lines too). Wherever a key
 * {@code routed_experts} stands its value is one sequence [tokens, layers, K]:
 *
 * <ul>
 *   <li>base64 of a NumPy file, u1, u2 or i4: vLLM 0.23 ({@code --enable-return-routed-experts}, in {@code choices});
 *   <li>base64 of plain int32, whose layers and K must be said: SGLang, as of its pull request 12162 of December 2025
 *       ({@code return_routed_experts}, in {@code meta_info} or {@code sgl_ext});
 *   <li>lists in lists in lists: what {@code tolist()} makes of vLLM's {@code CompletionOutput.routed_experts}.
 * </ul>
 *
 * No server says how many experts there are. Layers are numbered from 0 as they come; one without experts is all 0 and is
 * left out. The file is read anew for each layer, and one sequence of it is in memory.
 */
final class ReturnedExperts implements Trace {
    private static final String KEY = "routed_experts";
    private static final Pattern NUMPY = Pattern.compile(
            ".*'descr': '[<|]([ui][124])', 'fortran_order': False, 'shape': \\((\\d{1,9}), (\\d{1,4}), (\\d{1,4})\\).*",
            Pattern.DOTALL);
    private static final int NUMPY_HEADER = 10;
    private static final byte[] NUMPY_MAGIC = {(byte) 0x93, 'N', 'U', 'M', 'P', 'Y', 1, 0};
    private static final JsonFactory JSON = JsonFactory.builder()
            .streamReadConstraints(
                    StreamReadConstraints.builder().maxStringLength(1 << 28).build())
            .build();

    private final Path file;
    private final Input.Sizes sizes;
    private final int layerCount;
    private final List<Integer> layers = new ArrayList<>();
    private final GroupLimitedTopK rule;

    /** The experts of one sequence. */
    private static final class Sequence {
        final int tokens;
        final int layers;
        final int chosen;
        final int[] expert_TLK;

        Sequence(int tokens, int layers, int chosen, int[] expert_TLK) {
            this.tokens = tokens;
            this.layers = layers;
            this.chosen = chosen;
            this.expert_TLK = expert_TLK;
        }
    }

    ReturnedExperts(Path file, Input.Sizes sizes) {
        this.file = file;
        this.sizes = sizes;
        try (var sequences = new Sequences()) {
            var first = sequences.next();
            while (first != null && first.tokens == 0) first = sequences.next();
            if (first == null) throw wrong("no response in it has " + KEY);
            layerCount = first.layers;
            if (sizes.experts() < 1)
                throw wrong("a server does not say how many experts there are: please say it (--experts)");
            rule = Trace.rule(sizes.experts(), first.chosen, 1, 1);
            for (int layer = 0; layer < layerCount; layer++) if (hasExperts(first, layer)) layers.add(layer);
            if (layers.isEmpty()) throw wrong("all experts of the first sequence are 0: no layer has experts");
        }
    }

    private static boolean hasExperts(Sequence sequence, int layer) {
        if (sequence.chosen == 1) return true; // choosing expert 0 looks the same
        int from = layer * sequence.chosen;
        return Arrays.stream(sequence.expert_TLK, from, from + sequence.chosen).anyMatch(e -> e != 0);
    }

    @Override
    public String name() {
        return String.valueOf(file.getFileName());
    }

    @Override
    public GroupLimitedTopK rule() {
        return rule;
    }

    @Override
    public List<Integer> layers() {
        return List.copyOf(layers);
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
        return new LayerReader(layer);
    }

    @Override
    public void close() {}

    private IllegalArgumentException wrong(String problem) {
        return new IllegalArgumentException(name() + ": " + problem);
    }

    private final class LayerReader implements Reader {
        private final int layer;
        private final Sequences sequences = new Sequences();
        private @Nullable Sequence sequence;
        private int at;

        LayerReader(int layer) {
            this.layer = layer;
        }

        @Override
        public boolean next(Batch batch) {
            int K = rule.chosen();
            batch.T = 0;
            batch.window = batch.capacity();
            while (batch.T < batch.capacity()) {
                if (sequence == null || at == sequence.tokens) {
                    sequence = sequences.next();
                    at = 0;
                    if (sequence == null) break;
                    if (sequence.layers != layerCount || sequence.chosen != K)
                        throw sequences.wrong("has %d layers and %d experts a token, the first one %d and %d"
                                .formatted(sequence.layers, sequence.chosen, layerCount, K));
                    continue;
                }
                int from = (at * layerCount + layer) * K;
                for (int k = 0; k < K; k++) {
                    int e = sequence.expert_TLK[from + k];
                    if (e < 0 || e >= rule.experts())
                        throw sequences.wrong("token %d, layer %d, choice %d: expert %d of %d"
                                .formatted(at, layer, k, e, rule.experts()));
                    for (int j = 0; j < k; j++)
                        if (sequence.expert_TLK[from + j] == e)
                            throw sequences.wrong("token %d, layer %d: expert %d twice".formatted(at, layer, e));
                    batch.expert_TK[batch.T * K + k] = e;
                }
                batch.T++;
                at++;
            }
            return batch.T > 0;
        }

        @Override
        public void close() {
            sequences.close();
        }
    }

    /** The sequences of the file, one by one. */
    private final class Sequences implements AutoCloseable {
        private final JsonParser json;
        private int number;

        Sequences() {
            try {
                json = JSON.createParser(ObjectReadContext.empty(), file);
            } catch (JacksonException e) {
                throw broken(e);
            }
        }

        @Nullable
        Sequence next() {
            try {
                for (var token = json.nextToken(); token != null; token = json.nextToken()) {
                    if (token != JsonToken.PROPERTY_NAME || !KEY.equals(json.currentName())) continue;
                    token = json.nextToken();
                    if (token == JsonToken.VALUE_NULL) continue;
                    number++;
                    if (token == JsonToken.START_ARRAY) return readLists();
                    if (token == JsonToken.VALUE_STRING) return readBytes();
                    throw wrong("is %s, not a list and not base64".formatted(token));
                }
                return null;
            } catch (JacksonException e) {
                throw broken(e);
            }
        }

        private Sequence readBytes() {
            var out = new ByteArrayOutputStream();
            json.readBinaryValue(out);
            byte[] bytes = out.toByteArray();
            return Arrays.mismatch(bytes, 0, Math.min(bytes.length, 8), NUMPY_MAGIC, 0, 8) < 0
                    ? readNumpy(bytes)
                    : readInts(bytes);
        }

        private Sequence readNumpy(byte[] bytes) {
            int length = bytes.length < NUMPY_HEADER ? 0 : (bytes[8] & 0xff) | (bytes[9] & 0xff) << 8;
            int end = Math.min(NUMPY_HEADER + length, bytes.length);
            var header = NUMPY.matcher(new String(bytes, 0, end, StandardCharsets.ISO_8859_1));
            if (!header.matches()) throw wrong("is no NumPy file of whole numbers [tokens, layers, K]");
            return sequence(
                    bytes,
                    end,
                    header.group(1),
                    Integer.parseInt(header.group(2)),
                    Integer.parseInt(header.group(3)),
                    Integer.parseInt(header.group(4)));
        }

        private Sequence readInts(byte[] bytes) {
            if (sizes.layers() < 1 || sizes.chosen() < 1)
                throw wrong("is plain int32: please say how many layers and chosen experts (--layers, --chosen)");
            int row = sizes.layers() * sizes.chosen() * Integer.BYTES;
            return sequence(bytes, 0, "i4", bytes.length / row, sizes.layers(), sizes.chosen());
        }

        private Sequence sequence(byte[] bytes, int from, String type, int tokens, int layerCount, int chosen) {
            int size = type.charAt(1) - '0';
            long values = (long) tokens * layerCount * chosen;
            if (layerCount < 1 || chosen < 1 || values * size != bytes.length - from)
                throw wrong("has %d bytes, but %d tokens, %d layers and %d experts of %d bytes take %d"
                        .formatted(bytes.length - from, tokens, layerCount, chosen, size, values * size));
            var data = ByteBuffer.wrap(bytes).order(ByteOrder.LITTLE_ENDIAN).position(from);
            int[] expert_TLK = new int[(int) values];
            for (int i = 0; i < expert_TLK.length; i++)
                expert_TLK[i] = switch (type) {
                    case "u1" -> data.get() & 0xff;
                    case "i1" -> data.get();
                    case "u2" -> data.getShort() & 0xffff;
                    case "i2" -> data.getShort();
                    default -> data.getInt();
                };
            return new Sequence(tokens, layerCount, chosen, expert_TLK);
        }

        private Sequence readLists() {
            int[] all = new int[1024];
            int n = 0, tokens = 0, layerCount = -1, chosen = -1;
            while (json.nextToken() == JsonToken.START_ARRAY) {
                int layersHere = 0;
                while (json.nextToken() == JsonToken.START_ARRAY) {
                    int before = n;
                    while (json.nextToken() == JsonToken.VALUE_NUMBER_INT) {
                        if (n == all.length) all = Arrays.copyOf(all, 2 * n);
                        all[n++] = json.getIntValue();
                    }
                    require(JsonToken.END_ARRAY);
                    if (chosen < 0) chosen = n - before;
                    if (n - before != chosen || chosen == 0)
                        throw wrong("token %d, layer %d: %d experts, the ones before have %d"
                                .formatted(tokens, layersHere, n - before, chosen));
                    layersHere++;
                }
                require(JsonToken.END_ARRAY);
                if (layerCount < 0) layerCount = layersHere;
                if (layersHere != layerCount || layerCount == 0)
                    throw wrong(
                            "token %d: %d layers, the ones before have %d".formatted(tokens, layersHere, layerCount));
                tokens++;
            }
            require(JsonToken.END_ARRAY);
            return new Sequence(tokens, Math.max(layerCount, 0), Math.max(chosen, 0), Arrays.copyOf(all, n));
        }

        private void require(JsonToken token) {
            if (json.currentToken() != token)
                throw wrong("%s where %s is expected".formatted(json.currentToken(), token));
        }

        IllegalArgumentException wrong(String problem) {
            return ReturnedExperts.this.wrong("%s %d (line %d): %s"
                    .formatted(KEY, number, json.currentTokenLocation().getLineNr(), problem));
        }

        private IllegalArgumentException broken(JacksonException e) {
            var at = e.getLocation();
            String where = at == null ? "" : "line %d, column %d: ".formatted(at.getLineNr(), at.getColumnNr());
            return ReturnedExperts.this.wrong(where + e.getOriginalMessage());
        }

        @Override
        public void close() {
            json.close();
        }
    }
}
