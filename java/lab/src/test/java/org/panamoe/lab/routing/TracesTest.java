package org.panamoe.lab.routing;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.lang.foreign.Arena;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Base64;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.zip.GZIPOutputStream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.panamoe.checkpoint.SafetensorsWriter;
import org.panamoe.tensor.DType;
import org.panamoe.tensor.Tensor;

class TracesTest {
    private static final Path SHARED = Path.of(System.getProperty("panamoe.root"), "..", "shared");

    @TempDir
    private Path folder;

    private final Map<String, Tensor> tensors = new LinkedHashMap<>();

    private Trace open(String name) {
        return new Input(folder.resolve(name).toString(), "").open(new Input.Sizes(8, 0, 0));
    }

    private static int[] choices(Trace trace, int layer, int capacity) {
        var batch =
                Batch.ofChoices(capacity, trace.rule().experts(), trace.rule().chosen());
        var all = new ArrayList<Integer>();
        try (var reader = trace.read(layer, 0)) {
            while (reader.next(batch)) for (int n = 0; n < batch.T * batch.K; n++) all.add(batch.expert_TK[n]);
        }
        return all.stream().mapToInt(e -> e).toArray();
    }

    private Trace write(Map<String, String> metadata) throws IOException {
        SafetensorsWriter.write(folder.resolve("t.safetensors"), tensors, metadata);
        tensors.clear();
        return open("t.safetensors");
    }

    private static Tensor ids(Arena arena, int K, int... ids) {
        return Tensor.of(arena, ids).as(ids.length / K, K);
    }

    private static Tensor halves(Arena arena, int E, float... values) {
        var tensor = Tensor.allocate(arena, DType.F16, values.length / E, E);
        for (int i = 0; i < values.length; i++)
            tensor.data.setAtIndex(java.lang.foreign.ValueLayout.JAVA_SHORT, i, Float.floatToFloat16(values[i]));
        return tensor;
    }

    @Test
    void whatTheEngineWritesIsRead() throws IOException {
        try (var arena = Arena.ofConfined()) {
            tensors.put("topk_idx.3", ids(arena, 2, 0, 1, 2, 3, 1, 0));
            tensors.put("score.3", halves(arena, 4, 0, 0.25f, 0.5f, 1, 0, 0, 0, 0, 1, 1, 1, 1));
            tensors.put("bias.3", Tensor.of(arena, 1f, 2f, 3f, 4f));
            tensors.put("token_ids", Tensor.of(arena, 7, 8, 9));
            try (var trace = write(Map.of("n_group", "2", "topk_group", "1", "window", "2"))) {
                assertThat(trace.layers()).containsExactly(3);
                assertThat(trace.rule()).isEqualTo(Trace.rule(4, 2, 2, 1));
                assertThat(trace.bias(3).orElseThrow()).containsExactly(1, 2, 3, 4);
                for (int capacity : new int[] {1, 2, 100})
                    assertThat(choices(trace, 3, capacity)).containsExactly(0, 1, 2, 3, 1, 0);
                var batch = Batch.ofScores(2, 4, 2);
                try (var reader = trace.read(3, 0)) {
                    assertThat(reader.next(batch)).isTrue();
                    assertThat(batch.score_TE).containsExactly(0, 0.25f, 0.5f, 1, 0, 0, 0, 0);
                    assertThat(reader.next(batch)).isTrue();
                    assertThat(batch.T).isEqualTo(1);
                    assertThat(reader.next(batch)).isFalse();
                }
            }
        }
    }

    /** Another order of windows has the same tokens, the same in all layers, and the windows stay whole. */
    @Test
    void seedsShuffleWindows() throws IOException {
        try (var arena = Arena.ofConfined()) {
            int[] ids = new int[40];
            Arrays.setAll(ids, i -> i);
            for (int layer : new int[] {1, 2}) {
                tensors.put("topk_idx." + layer, ids(arena, 1, ids));
                tensors.put("bias." + layer, Tensor.of(arena, new float[40]));
            }
            try (var trace = write(Map.of("window", "7"))) {
                var batch = Batch.ofChoices(40, 40, 1);
                int[][] seen = new int[2][];
                for (int layer : new int[] {1, 2}) {
                    trace.read(layer, 5).next(batch);
                    seen[layer - 1] = batch.expert_TK.clone();
                }
                assertThat(seen[0]).isEqualTo(seen[1]).isNotEqualTo(ids).containsExactlyInAnyOrder(ids);
                for (int i = 1; i < 40; i++)
                    if (seen[0][i] % 7 != 0) assertThat(seen[0][i]).isEqualTo(seen[0][i - 1] + 1);
            }
        }
    }

    @Test
    void badSafetensorsAreNamedWithTheirPlace() throws IOException {
        try (var arena = Arena.ofConfined()) {
            var bias = Tensor.of(arena, new float[8]);
            tensors.put("topk_idx.1", ids(arena, 2, 0, 1, 2, 8));
            tensors.put("bias.1", bias);
            refuseReading("t.safetensors: topk_idx.1, token 1: expert 8 of 8");
            tensors.put("topk_idx.1", ids(arena, 2, 0, 1, -1, 2));
            tensors.put("bias.1", bias);
            refuseReading("topk_idx.1, token 1: expert -1 of 8");
            tensors.put("topk_idx.1", ids(arena, 2, 0, 1, 2, 2));
            tensors.put("bias.1", bias);
            refuseReading("topk_idx.1, token 1: expert 2 twice");
            tensors.put("topk_idx.1", ids(arena, 2, 0, 1, 2, 3));
            tensors.put("topk_weight.1", Tensor.of(arena, 1f, 1f, 1f, Float.NaN).as(2, 2));
            tensors.put("bias.1", bias);
            refuseReading("topk_weight.1, token 1, choice 1: is NaN");
            tensors.put("topk_idx.1", ids(arena, 2, 0, 1));
            tensors.put("topk_idx.2", ids(arena, 1, 0, 1));
            tensors.put("bias.1", bias);
            refuseOpening("topk_idx.2 has 1 chosen experts, the tensors before it 2");
            tensors.put("topk_idx.1", ids(arena, 2, 0, 1));
            refuseOpening("nothing says how many experts there are");
            tensors.put("token_ids", Tensor.of(arena, 1));
            refuseOpening("no score.LAYER and no topk_idx.LAYER");
            tensors.put("topk_idx.1", ids(arena, 2, 0, 1));
            tensors.put("score.2", halves(arena, 4, 0, 0, 0, 0));
            refuseOpening("has no");
            tensors.put("score.1", halves(arena, 4, 0, 0, 0, Float.NaN));
            try (var trace = write(Map.of("K", "2"))) {
                var batch = Batch.ofScores(1, 4, 2);
                assertThatThrownBy(() -> trace.read(1, 0).next(batch))
                        .hasMessage("t.safetensors: score.1, token 0, expert 3: is NaN, not between 0 and 1");
            }
            tensors.put("score.1", halves(arena, 4, 0, 0, 0, 0));
            refuseOpening("metadata has no K");
        }
        var whole = Files.readAllBytes(folder.resolve("t.safetensors"));
        Files.write(folder.resolve("t.safetensors"), Arrays.copyOf(whole, whole.length - 1));
        assertThatThrownBy(() -> open("t.safetensors"))
                .isInstanceOf(IllegalArgumentException.class)
                .hasMessageContaining("score.1")
                .hasMessageContaining("7 bytes of data");
    }

    private void refuseReading(String problem) throws IOException {
        try (var trace = write(Map.of())) {
            assertThatThrownBy(() -> choices(trace, 1, 10))
                    .isInstanceOf(IllegalArgumentException.class)
                    .hasMessageContaining(problem);
        }
    }

    private void refuseOpening(String problem) {
        assertThatThrownBy(() -> write(Map.of()))
                .isInstanceOf(IllegalArgumentException.class)
                .hasMessageContaining(problem);
        tensors.clear();
    }

    private void tar(String name, Map<String, String> files) throws IOException {
        var tar = new ByteArrayOutputStream();
        for (var file : files.entrySet()) {
            byte[] content = file.getValue().getBytes(StandardCharsets.US_ASCII);
            byte[] header = new byte[512];
            byte[] path = file.getKey().getBytes(StandardCharsets.US_ASCII);
            System.arraycopy(path, 0, header, 0, path.length);
            byte[] size = "%011o".formatted(content.length).getBytes(StandardCharsets.US_ASCII);
            System.arraycopy(size, 0, header, 124, size.length);
            tar.write(header);
            tar.write(content);
            tar.write(new byte[Math.floorMod(-content.length, 512)]);
        }
        tar.write(new byte[1024]);
        try (var out = new GZIPOutputStream(Files.newOutputStream(folder.resolve(name)))) {
            out.write(tar.toByteArray());
        }
    }

    private static String sequence(String ids, String weights) {
        return ids.replace(' ', '\t') + "\t\t" + weights.replace(' ', '\t') + "\n";
    }

    @Test
    void esftsArchiveIsRead() throws IOException {
        var files = new LinkedHashMap<String, String>();
        files.put(
                "x/expert_weights_2.txt",
                sequence("0 1 2 3 4 63 5 6 7 8 9 10", "0.1 0.1 0.1 0.1 0.1 0.1 1 1 1 1 1 1e-3")
                        + sequence("9 8 7 6 5 4", "1 1 1 1 1 1"));
        files.put("x/expert_weights_1.txt", sequence("5 4 3 2 1 0", "1 1 1 1 1 1"));
        tar("e.tar.gz", files);
        try (var trace = open("e.tar.gz")) {
            assertThat(trace.layers()).containsExactly(1, 2);
            assertThat(choices(trace, 1, 4)).containsExactly(5, 4, 3, 2, 1, 0);
            for (int capacity : new int[] {1, 2, 9})
                assertThat(choices(trace, 2, capacity))
                        .containsExactly(0, 1, 2, 3, 4, 63, 5, 6, 7, 8, 9, 10, 9, 8, 7, 6, 5, 4);
            assertThatThrownBy(() -> trace.read(1, 3)).hasMessageContaining("seed 0, not 3");
        }
        for (var bad : Map.of(
                        sequence("0 1 2 3 4 64", "1 1 1 1 1 1"),
                        "line 1: token 0, choice 5: expert 64 of 64",
                        sequence("0 1 2 3 4 4", "1 1 1 1 1 1"),
                        "line 1: token 0, choice 5: expert 4 twice",
                        sequence("0 1 2 3 4 5", "1 1 nan 1 1 1"),
                        "line 1: token 0, choice 2: the weight is 'nan'",
                        sequence("0 1 2 3 4", "1 1 1 1 1"),
                        "line 1: has 5 ids and 5 weights",
                        sequence("0 1 2 3 4 5", "1 1 1"),
                        "line 1: has 6 ids and 3 weights",
                        "0\t1\n",
                        "line 1: has no empty field")
                .entrySet()) {
            tar("bad.tar.gz", Map.of("expert_weights_1.txt", bad.getKey()));
            try (var trace = open("bad.tar.gz")) {
                assertThatThrownBy(() -> choices(trace, 1, 4))
                        .isInstanceOf(IllegalArgumentException.class)
                        .hasMessageContaining("expert_weights_1.txt, " + bad.getValue());
            }
        }
        var whole = Files.readAllBytes(folder.resolve("e.tar.gz"));
        Files.write(folder.resolve("cut.tar.gz"), Arrays.copyOf(whole, whole.length / 2));
        assertThatThrownBy(() -> open("cut.tar.gz")).hasMessageContaining("cut.tar.gz: cannot be read");
    }

    /** Our own sums of the raw files, made by another program. */
    @Test
    void esftsCountsAreThoseSummedElsewhere() throws IOException {
        var esft = SHARED.resolve("data/router-stats/esft");
        assumeTrue(Files.exists(esft), esft + ": ESFT's recorded choices are not here");
        try (var trace = Input.of(esft.resolve("intent-expert_weights.tar.gz").toString())
                .open(Input.Sizes.UNKNOWN)) {
            var table = Loads.of(trace, 2).table();
            assertThat(table.rowKeySet()).hasSize(26);
            int compared = 0;
            for (String line : Files.readAllLines(esft.resolve("counts.csv"))) {
                var parts = line.split(",", -1);
                if (!parts[0].equals("intent")) continue;
                assertThat(table.get(Integer.valueOf(parts[1]), Integer.valueOf(parts[2])))
                        .as(line)
                        .isEqualTo(Long.valueOf(parts[3]));
                compared++;
            }
            assertThat(compared).isEqualTo(26 * 64);
        }
    }

    /** Two tokens, three layers of which the first is dense, two experts each. */
    private static final int[] RETURNED = {0, 0, 1, 2, 3, 4, 0, 0, 2, 1, 7, 0};

    private static String numpy(String type, int size) {
        String header = "{'descr': '%s', 'fortran_order': False, 'shape': (2, 3, 2), }".formatted(type);
        header += " ".repeat(117 - header.length()) + "\n";
        var bytes = ByteBuffer.allocate(10 + header.length() + RETURNED.length * size)
                .order(ByteOrder.LITTLE_ENDIAN)
                .put(new byte[] {(byte) 0x93, 'N', 'U', 'M', 'P', 'Y', 1, 0})
                .putShort((short) header.length())
                .put(header.getBytes(StandardCharsets.US_ASCII));
        for (int e : RETURNED)
            if (size == 1) bytes.put((byte) e);
            else if (size == 2) bytes.putShort((short) e);
            else bytes.putInt(e);
        return Base64.getEncoder().encodeToString(bytes.array());
    }

    private static String plain() {
        var bytes = ByteBuffer.allocate(RETURNED.length * 4).order(ByteOrder.LITTLE_ENDIAN);
        for (int e : RETURNED) bytes.putInt(e);
        return Base64.getEncoder().encodeToString(bytes.array());
    }

    @Test
    void expertsThatServersReturnAreRead() throws IOException {
        for (String value : List.of(
                '"' + numpy("|u1", 1) + '"',
                '"' + numpy("<u2", 2) + '"',
                '"' + numpy("<i4", 4) + '"',
                "[[[0, 0], [1, 2], [3, 4]], [[0, 0], [2, 1], [7, 0]]]")) {
            Files.writeString(
                    folder.resolve("r.jsonl"),
                    "{\"id\": 1, \"choices\": [{\"routed_experts\": %s}, {\"routed_experts\": null}]}\n"
                            .formatted(value)
                            .repeat(2));
            try (var trace = open("r.jsonl")) {
                assertThat(trace.layers()).containsExactly(1, 2);
                assertThat(choices(trace, 1, 3)).containsExactly(1, 2, 2, 1, 1, 2, 2, 1);
                assertThat(choices(trace, 2, 100)).containsExactly(3, 4, 7, 0, 3, 4, 7, 0);
            }
        }
        Files.writeString(folder.resolve("s.json"), "{\"meta_info\": {\"routed_experts\": \"%s\"}}".formatted(plain()));
        try (var trace = new Input(folder.resolve("s.json").toString(), "").open(new Input.Sizes(8, 3, 2))) {
            assertThat(choices(trace, 2, 100)).containsExactly(3, 4, 7, 0);
        }
    }

    @Test
    void badResponsesAreNamedWithTheirPlace() throws IOException {
        refuseResponse("{\"routed_experts\": \"%s\"}".formatted(plain()), "say how many layers");
        refuseResponse("{\"routed_experts\": [[[1, 2], [3]]]}", "token 0, layer 1: 1 experts");
        refuseResponse("{\"routed_experts\": [[[1, 2]], [[1, 2], [3, 4]]]}", "token 1: 2 layers");
        refuseResponse("{\"routed_experts\": [[[1, 2.5]]]}", "VALUE_NUMBER_FLOAT");
        refuseResponse("{\"routed_experts\": 3}", "not a list and not base64");
        refuseResponse("{\"other\": 3}", "no response in it has routed_experts");
        refuseResponse("{\"routed_experts\": [[[1, 2]", "r.json: line 1, column");
        refuseResponse(
                "{\"routed_experts\": [[[1, 8]]]}",
                "routed_experts 1 (line 1): token 0, layer 0, choice 1: expert 8 of 8");
        refuseResponse("{\"routed_experts\": [[[1, 1]]]}", "expert 1 twice");
        refuseResponse(
                "{\"routed_experts\": [[[1, 2]]]}\n{\"routed_experts\": [[[1, 2, 3]]]}",
                "routed_experts 2 (line 2): has 1 layers and 3 experts a token, the first one 1 and 2");
        String cut = numpy("|u1", 1).substring(0, 180);
        refuseResponse("{\"routed_experts\": \"%s\"}".formatted(cut), "2 tokens, 3 layers and 2 experts");
        Files.writeString(folder.resolve("r.json"), "{\"routed_experts\": [[[1, 2]]]}");
        assertThatThrownBy(() -> new Input(folder.resolve("r.json").toString(), "").open(Input.Sizes.UNKNOWN))
                .hasMessageContaining("--experts");
    }

    private void refuseResponse(String text, String problem) throws IOException {
        Files.writeString(folder.resolve("r.json"), text);
        assertThatThrownBy(() -> {
                    try (var trace = open("r.json")) {
                        choices(trace, 0, 10);
                    }
                })
                .isInstanceOf(IllegalArgumentException.class)
                .hasMessageContaining(problem);
    }

    @Test
    void sglangsCountsAreAddedUpOverRanks() throws IOException {
        var a = Files.writeString(folder.resolve("a.csv"), "layer_id,expert_id,count\n3,0,5\n3,2,7\n4,1,2\n");
        var b = Files.writeString(folder.resolve("b.csv"), "layer_id,expert_id,count\n3,2,1\n");
        var loads = Loads.readSglang(List.of(a, b), 4);
        assertThat(loads.layers().get(3)).containsExactly(5, 0, 8, 0);
        assertThat(loads.layers().get(4)).containsExactly(0, 2, 0, 0);
        assertThat(Loads.readSglang(List.of(a), 0).layers().get(4)).containsExactly(0, 2, 0);
        assertThatThrownBy(() -> Loads.readSglang(List.of(a), 2)).hasMessageContaining("a.csv, line 3: expert 2 of 2");
        for (String bad : List.of("3,0", "3,0,x", "3,0,-1", ""))
            assertThatThrownBy(() -> Loads.readSglang(
                            List.of(Files.writeString(a, "layer_id,expert_id,count\n" + bad + "\n")), 4))
                    .hasMessageContaining("line 2: '" + bad + "' is not three numbers");
        assertThatThrownBy(() -> Loads.readSglang(List.of(Files.writeString(a, "a,b\n")), 4))
                .hasMessageContaining("begins with 'a,b'");
    }

    @Test
    void inputsThatAreNone() {
        assertThatThrownBy(() -> Input.of(folder.resolve("no.safetensors").toString()))
                .hasMessageContaining("no such file");
        assertThatThrownBy(() -> Input.of(folder.toString())).hasMessageContaining("not a file");
        assertThatThrownBy(() -> new Input("x.txt", "").open(Input.Sizes.UNKNOWN))
                .hasMessageContaining("x.txt: not a trace");
        assertThatThrownBy(() -> SyntheticTrace.parse("synthetic:colour=red")).hasMessageContaining("has no colour");
        assertThatThrownBy(() -> SyntheticTrace.parse("synthetic:bursts=2")).hasMessageContaining("at most 1");
        assertThatThrownBy(() -> SyntheticTrace.parse("synthetic:experts=4,chosen=5"))
                .hasMessageContaining("do not fit each other");
        try (var trace = SyntheticTrace.parse("synthetic")) {
            for (String groups : List.of("4", "4/", "0/4", "a/b", "1/2/3"))
                assertThatThrownBy(() -> Input.regroup(trace, groups)).hasMessageContaining("KEPT/GROUPS");
        }
    }
}
