package org.panamoe.cli;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.within;

import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Locale;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;
import org.panamoe.tensor.Tensor;

class LogitsTest {
    /** Sums of fp32 in another order: 2.1e-5 apart at the most between two other implementations; spec/model.md says 2e-4. */
    private static final float TOLERANCE = 2e-4f;

    @TempDir
    private Path folder;

    static Stream<Golden> golden() {
        return Golden.all();
    }

    @ParameterizedTest
    @MethodSource("golden")
    void logitsAreGolden(Golden golden) throws IOException {
        assertClose(write(golden), golden.tensor("logits"), golden.promptTokens().length);
    }

    @ParameterizedTest
    @MethodSource("golden")
    void draftLogitsAreGolden(Golden golden) throws IOException {
        assertClose(write(golden, "--mtp"), golden.tensor("mtp_logits"), golden.promptTokens().length - 1);
    }

    /** Byte by byte what numpy.save writes: NumPy pads with blanks to 64 bytes. */
    @Test
    void theHeaderIsNumpys() throws IOException {
        byte[] file = write(Golden.all().findFirst().orElseThrow());
        assertThat(new String(file, 0, 128, StandardCharsets.ISO_8859_1)).isEqualTo(header());
        assertThat(file).hasSize(128 + 7 * 2048 * Float.BYTES);
    }

    @Test
    void theHeaderIsNumpysWhereDigitsAreNotAscii() throws IOException {
        var before = Locale.getDefault();
        Locale.setDefault(Locale.of("ar", "EG"));
        try {
            var out = new ByteArrayOutputStream();
            new NumpyFile(out, 7, 2048);
            assertThat(out.toString(StandardCharsets.ISO_8859_1)).isEqualTo(header());
        } finally {
            Locale.setDefault(before);
        }
    }

    /** Of [7, 2048]. */
    private static String header() {
        String dictionary = "{'descr': '<f4', 'fortran_order': False, 'shape': (7, 2048), }";
        return "\u0093NUMPY\u0001\u0000v\u0000" + dictionary + " ".repeat(117 - dictionary.length()) + "\n";
    }

    @Test
    void anExistingFileIsReplacedAndNothingElseStays() throws IOException {
        Files.writeString(folder.resolve("logits.npy"), "old");
        write(Golden.all().findFirst().orElseThrow());
        try (var files = Files.list(folder)) {
            assertThat(files).containsExactly(folder.resolve("logits.npy"));
        }
    }

    private byte[] write(Golden golden, String... more) throws IOException {
        var file = folder.resolve("logits.npy");
        String[] args = {"logits", "--tokens", golden.ids(), "--output", file.toString()};
        assertThat(Run.good(Stream.concat(Stream.of(args), Stream.of(more)).toArray(String[]::new)))
                .isEqualTo(new Run(0, "", ""));
        return Files.readAllBytes(file);
    }

    private static void assertClose(byte[] npy, Tensor expected_TV, int rows) {
        int V = expected_TV.dim(1);
        var values = ByteBuffer.wrap(npy)
                .order(ByteOrder.LITTLE_ENDIAN)
                .position(npy.length - rows * V * Float.BYTES)
                .slice()
                .order(ByteOrder.LITTLE_ENDIAN)
                .asFloatBuffer();
        assertThat(new String(npy, 0, 128, StandardCharsets.ISO_8859_1)).contains("(%d, %d)".formatted(rows, V));
        for (int i = 0; i < rows * V; i++)
            assertThat(values.get(i)).as("element %d", i).isCloseTo(expected_TV.getFloat(i), within(TOLERANCE));
    }
}
